//! The callbacks that Envoy calls, proxy-wasm ABI 0.2.1. Each hands over to the [`Vm`](crate::vm::Vm).
//!
//! Written here instead of taken from the SDK: its dispatcher panics where it is surprised, and it delivers
//! the answer of a call only to the stream that made it, while a lease is asked for by one stream and awaited
//! by several. The other of the two files with unsafe code: exported names are an unsafe attribute.
#![allow(unsafe_code, reason = "`no_mangle` is an unsafe attribute")]

use crate::host;
use crate::vm;

const CONTINUE: u32 = 0;
const PAUSE: u32 = 1;

fn action(step: weir_pipeline::io::Step) -> u32 {
    match step {
        weir_pipeline::io::Step::Continue => CONTINUE,
        weir_pipeline::io::Step::Pause => PAUSE,
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(len: usize) -> *mut u8 {
    host::allocate(len)
}

#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    std::panic::set_hook(Box::new(|info| host::log(host::Level::Error, &info.to_string())));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(context: u32, root: u32) {
    vm::with((), |vm| vm.create(context, root));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(_root: u32, _size: usize) -> u32 {
    crate::tokenizers::open();
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(root: u32, size: usize) -> u32 {
    u32::from(vm::with(false, |vm| vm.configure(root, size)))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(root: u32) {
    vm::with((), |vm| vm.tick(root));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context: u32, _count: usize, end: u32) -> u32 {
    action(vm::with(weir_pipeline::io::Step::Pause, |vm| vm.request_headers(context, end != 0)))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(context: u32, size: usize, end: u32) -> u32 {
    action(vm::with(weir_pipeline::io::Step::Pause, |vm| vm.request_body(context, size, end != 0)))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(context: u32, _count: usize) -> u32 {
    action(vm::with(weir_pipeline::io::Step::Pause, |vm| vm.request_trailers(context)))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(context: u32, _count: usize, end: u32) -> u32 {
    action(vm::with(weir_pipeline::io::Step::Continue, |vm| vm.response_headers(context, end != 0)))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(context: u32, size: usize, end: u32) -> u32 {
    action(vm::with(weir_pipeline::io::Step::Continue, |vm| vm.response_body(context, size, end != 0)))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_trailers(context: u32, _count: usize) -> u32 {
    action(vm::with(weir_pipeline::io::Step::Continue, |vm| vm.response_trailers(context)))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_queue_ready(_root: u32, bell: u32) {
    vm::with((), |vm| vm.rung(bell));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_grpc_receive(_context: u32, token: u32, size: usize) {
    vm::with((), |vm| vm.grpc_answer(token, Ok(size)));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_grpc_close(_context: u32, token: u32, status: u32) {
    vm::with((), |vm| vm.grpc_answer(token, Err(status)));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(
    _context: u32,
    token: u32,
    _headers: usize,
    size: usize,
    _trailers: usize,
) {
    vm::with((), |vm| vm.http_answer(token, size));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(context: u32) -> u32 {
    vm::with((), |vm| vm.done(context));
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(context: u32) {
    vm::with((), |vm| vm.log(context));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(context: u32) {
    vm::with((), |vm| vm.delete(context));
}
