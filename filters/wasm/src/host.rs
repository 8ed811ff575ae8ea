//! The proxy-wasm host, as safe functions that return `Result`.
//!
//! Written here instead of taken from the SDK: its calls panic on a status they do not expect, a panic traps
//! the VM, and a trapped VM takes every stream of its worker with it. One of the two files with unsafe code.
#![allow(unsafe_code, reason = "the host's functions are foreign; each is wrapped once, here")]

use std::cell::Cell;

/// The host's answer when it is not `Ok`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u32);

impl Status {
    /// What was asked for does not exist.
    pub const NOT_FOUND: Self = Self(1);
}

/// gRPC: nobody is there, which is also said of a call that was given up or could not begin.
pub const UNAVAILABLE: u32 = 14;

/// A call under way: whether it goes over HTTP, which numbers its calls apart from gRPC, and its number.
pub type Call = (bool, u32);

thread_local! {
    /// Calls that nobody has answered, each with its context.
    static UNDER_WAY: Cell<Vec<(u32, Call)>> = const { Cell::new(Vec::new()) };
}

/// Result of a host call.
pub type Result<T> = std::result::Result<T, Status>;

/// Buffers by their ABI number.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Buffer {
    /// Request body.
    RequestBody = 0,
    /// Response body.
    ResponseBody = 1,
    /// Body of the answer to an HTTP call.
    CallBody = 4,
    /// Message of a gRPC call.
    GrpcMessage = 5,
    /// The plugin's configuration.
    Configuration = 7,
}

/// Header maps by their ABI number.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Map {
    /// Request headers.
    RequestHeaders = 0,
    /// Response headers.
    ResponseHeaders = 2,
    /// Headers of the answer to an HTTP call.
    CallAnswer = 6,
}

/// The two directions of a stream.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Direction {
    /// Towards the provider.
    Request = 0,
    /// Towards the client.
    Response = 1,
}

/// Kinds of statistics by their ABI number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Statistic {
    /// It only grows.
    Counter = 0,
    /// Values by bucket.
    Histogram = 2,
}

/// Log levels.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Level {
    /// Something needs attention.
    Warn = 3,
    /// Something failed.
    Error = 4,
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, text: *const u8, len: usize) -> u32;
    fn proxy_get_current_time_nanoseconds(out: *mut u64) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        max: usize,
        out: *mut *mut u8,
        len: *mut usize,
    ) -> u32;
    fn proxy_set_buffer_bytes(buffer: u32, start: usize, size: usize, data: *const u8, len: usize) -> u32;
    fn proxy_get_header_map_pairs(map: u32, out: *mut *mut u8, len: *mut usize) -> u32;
    fn proxy_set_header_map_pairs(map: u32, data: *const u8, len: usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        key: *const u8,
        key_len: usize,
        value: *const u8,
        len: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, key: *const u8, key_len: usize) -> u32;
    fn proxy_get_property(path: *const u8, path_len: usize, out: *mut *mut u8, len: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, path_len: usize, value: *const u8, len: usize) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_len: usize,
        out: *mut *mut u8,
        len: *mut usize,
        cas: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(key: *const u8, key_len: usize, value: *const u8, len: usize, cas: u32) -> u32;
    fn proxy_register_shared_queue(name: *const u8, len: usize, out: *mut u32) -> u32;
    fn proxy_enqueue_shared_queue(queue: u32, data: *const u8, len: usize) -> u32;
    fn proxy_dequeue_shared_queue(queue: u32, out: *mut *mut u8, len: *mut usize) -> u32;
    fn proxy_continue_stream(direction: u32) -> u32;
    fn proxy_close_stream(direction: u32) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_len: usize,
        body: *const u8,
        body_len: usize,
        headers: *const u8,
        headers_len: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, len: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, by: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_http_call(
        upstream: *const u8,
        upstream_len: usize,
        headers: *const u8,
        headers_len: usize,
        body: *const u8,
        body_len: usize,
        trailers: *const u8,
        trailers_len: usize,
        timeout_ms: u32,
        token: *mut u32,
    ) -> u32;
    fn proxy_grpc_call(
        upstream: *const u8,
        upstream_len: usize,
        service: *const u8,
        service_len: usize,
        method: *const u8,
        method_len: usize,
        metadata: *const u8,
        metadata_len: usize,
        message: *const u8,
        message_len: usize,
        timeout_ms: u32,
        token: *mut u32,
    ) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn random_get(out: *mut u8, len: usize) -> u32;
}

fn check(status: u32) -> Result<()> {
    if status == 0 { Ok(()) } else { Err(Status(status)) }
}

/// Takes ownership of what the host wrote through [`allocate`].
fn owned(data: *mut u8, len: usize) -> Vec<u8> {
    if data.is_null() {
        return Vec::new();
    }
    // SAFETY: the host got this pointer from `allocate(len)`, wrote `len` bytes and hands it over once.
    unsafe { Vec::from_raw_parts(data, len, len) }
}

/// Memory for the host to write into; freed by whoever receives it through [`owned`].
pub fn allocate(len: usize) -> *mut u8 {
    let mut memory = Vec::<u8>::with_capacity(len);
    let data = memory.as_mut_ptr();
    std::mem::forget(memory);
    data
}

/// Writes a line to Envoy's log.
pub fn log(level: Level, text: &str) {
    // SAFETY: pointer and length are of one live string.
    let _ = unsafe { proxy_log(level as u32, text.as_ptr(), text.len()) };
}

/// Nanoseconds since the Unix epoch.
pub fn now() -> u64 {
    let mut out = 0;
    // SAFETY: `out` outlives the call.
    let _ = unsafe { proxy_get_current_time_nanoseconds(&raw mut out) };
    out
}

/// Fresh random bits.
pub fn entropy() -> [u64; 4] {
    let mut out = [0u64; 4];
    // SAFETY: `out` outlives the call and has 32 bytes.
    let _ = unsafe { random_get(out.as_mut_ptr().cast(), 32) };
    out
}

/// Asks for a tick every so many milliseconds on the effective root context.
pub fn tick_every(ms: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { proxy_set_tick_period_milliseconds(ms) })
}

/// Up to `max` bytes of a buffer from `start`; an absent buffer is empty.
pub fn buffer(buffer: Buffer, start: usize, max: usize) -> Result<Vec<u8>> {
    let (mut data, mut len) = (std::ptr::null_mut(), 0);
    // SAFETY: both outputs outlive the call.
    let status = unsafe { proxy_get_buffer_bytes(buffer as u32, start, max, &raw mut data, &raw mut len) };
    match check(status) {
        Ok(()) => Ok(owned(data, len)),
        Err(Status::NOT_FOUND) => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// Replaces the whole of a buffer.
pub fn replace_buffer(buffer: Buffer, bytes: &[u8]) -> Result<()> {
    // A size beyond the buffer's end means all of it.
    // SAFETY: pointer and length are of one live slice.
    check(unsafe { proxy_set_buffer_bytes(buffer as u32, 0, u32::MAX as usize, bytes.as_ptr(), bytes.len()) })
}

/// A header map in the ABI's own form; see [`pairs`].
pub fn map(map: Map) -> Result<Vec<u8>> {
    let (mut data, mut len) = (std::ptr::null_mut(), 0);
    // SAFETY: both outputs outlive the call.
    check(unsafe { proxy_get_header_map_pairs(map as u32, &raw mut data, &raw mut len) })?;
    Ok(owned(data, len))
}

/// The fields of a header map: u32 count, then a pair of u32 lengths each, then `name\0value\0` each.
pub fn pairs(map: &[u8]) -> Vec<(&[u8], &[u8])> {
    fn int(bytes: &[u8], at: usize) -> Option<usize> {
        let word = bytes.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(word.try_into().ok()?) as usize)
    }
    let count = int(map, 0).unwrap_or(0).min(map.len() / 8);
    let mut out = Vec::with_capacity(count);
    let mut at = 4 + count * 8;
    for i in 0..count {
        let (Some(k), Some(v)) = (int(map, 4 + i * 8), int(map, 8 + i * 8)) else { break };
        let Some(key) = map.get(at..at.saturating_add(k)) else { break };
        at = at.saturating_add(k + 1);
        let Some(value) = map.get(at..at.saturating_add(v)) else { break };
        at = at.saturating_add(v + 1);
        out.push((key, value));
    }
    out
}

fn packed<K: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(K, V)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + fields.len() * 64);
    out.extend_from_slice(&(fields.len() as u32).to_le_bytes());
    for (k, v) in fields {
        out.extend_from_slice(&(k.as_ref().len() as u32).to_le_bytes());
        out.extend_from_slice(&(v.as_ref().len() as u32).to_le_bytes());
    }
    for (k, v) in fields {
        out.extend_from_slice(k.as_ref());
        out.push(0);
        out.extend_from_slice(v.as_ref());
        out.push(0);
    }
    out
}

/// Replaces a whole header map.
pub fn set_map<K: AsRef<[u8]>, V: AsRef<[u8]>>(map: Map, fields: &[(K, V)]) -> Result<()> {
    let bytes = packed(fields);
    // SAFETY: pointer and length are of one live slice.
    check(unsafe { proxy_set_header_map_pairs(map as u32, bytes.as_ptr(), bytes.len()) })
}

/// Sets one header.
pub fn set_header(map: Map, name: &str, value: &str) -> Result<()> {
    // SAFETY: pointers and lengths are of live strings.
    check(unsafe {
        proxy_replace_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Removes one header; one that does not exist is no error.
pub fn remove_header(map: Map, name: &str) -> Result<()> {
    // SAFETY: pointer and length are of one live string.
    match check(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) }) {
        Err(Status::NOT_FOUND) => Ok(()),
        other => other,
    }
}

/// A property; the parts of its path are joined by NUL. One that does not exist is `None`.
pub fn property(path: &str) -> Option<Vec<u8>> {
    let (mut data, mut len) = (std::ptr::null_mut(), 0);
    // SAFETY: both outputs outlive the call; pointer and length are of one live string.
    let status = unsafe { proxy_get_property(path.as_ptr(), path.len(), &raw mut data, &raw mut len) };
    check(status).ok().map(|()| owned(data, len))
}

/// Writes filter state `wasm.KEY`.
pub fn set_state(key: &str, value: &[u8]) -> Result<()> {
    // SAFETY: pointers and lengths are of live slices.
    check(unsafe { proxy_set_property(key.as_ptr(), key.len(), value.as_ptr(), value.len()) })
}

/// Shared data of this vm_id, with its version.
pub fn shared(key: &str) -> Result<Option<(Vec<u8>, u32)>> {
    let (mut data, mut len, mut cas) = (std::ptr::null_mut(), 0, 0);
    // SAFETY: all outputs outlive the call; pointer and length are of one live string.
    let status =
        unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), &raw mut data, &raw mut len, &raw mut cas) };
    match check(status) {
        Ok(()) => Ok(Some((owned(data, len), cas))),
        Err(Status::NOT_FOUND) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Writes shared data if its version is still `cas`; 0 writes in any case.
pub fn set_shared(key: &str, value: &[u8], cas: u32) -> Result<()> {
    // SAFETY: pointers and lengths are of live slices.
    check(unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) })
}

/// A queue by which this VM calls itself: what is put in comes back on the effective context's plugin, as soon as the
/// worker has ended what it is at. `name` is this VM's alone.
pub fn bell(name: &str) -> Result<u32> {
    let mut out = 0;
    // SAFETY: `out` outlives the call; pointer and length are of one live string.
    check(unsafe { proxy_register_shared_queue(name.as_ptr(), name.len(), &raw mut out) })?;
    Ok(out)
}

/// Asks to be called back.
pub fn ring(bell: u32) -> Result<()> {
    // SAFETY: pointer and length are of one live slice.
    check(unsafe { proxy_enqueue_shared_queue(bell, b".".as_ptr(), 1) })
}

/// Takes one call out; false where there was none.
pub fn rung(bell: u32) -> bool {
    let (mut data, mut len) = (std::ptr::null_mut(), 0);
    // SAFETY: both outputs outlive the call.
    let status = unsafe { proxy_dequeue_shared_queue(bell, &raw mut data, &raw mut len) };
    if status == 0 {
        drop(owned(data, len));
    }
    status == 0
}

/// Lets a paused direction of the effective context's stream go on.
pub fn resume(direction: Direction) -> Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { proxy_continue_stream(direction as u32) })
}

/// Resets the effective context's stream.
pub fn close(direction: Direction) -> Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { proxy_close_stream(direction as u32) })
}

/// Makes the following calls act on this context.
pub fn act_on(context: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { proxy_set_effective_context(context) })
}

/// Answers the client of the effective context.
pub fn reply(status: u16, headers: &[(&str, String)], body: &[u8]) -> Result<()> {
    // Empty, by which a gateway's `local_reply_config` tells our answers from Envoy's own and leaves them alone.
    const DETAILS: &str = "";
    let headers = packed(headers);
    // SAFETY: pointers and lengths are of live slices.
    check(unsafe {
        proxy_send_local_response(
            u32::from(status),
            DETAILS.as_ptr(),
            DETAILS.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            -1,
        )
    })
}

/// A statistic of the host by name, defined where it does not exist; the name is the process's.
pub fn statistic(kind: Statistic, name: &str) -> Result<u32> {
    let mut id = 0;
    // SAFETY: `id` outlives the call; pointer and length are of one live string.
    check(unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(id)
}

/// Adds to a counter.
pub fn count(id: u32, by: u64) -> Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { proxy_increment_metric(id, by as i64) })
}

/// Records a value of a histogram.
pub fn observe(id: u32, value: u64) -> Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { proxy_record_metric(id, value) })
}

/// Starts an HTTP call of a context to an Envoy cluster; the answer comes by its token.
pub fn http(
    context: u32,
    cluster: &str,
    headers: &[(&str, String)],
    body: &[u8],
    timeout_ms: u32,
) -> Result<Call> {
    act_on(context)?;
    let (headers, trailers) = (packed(headers), [0; 4]);
    let mut token = 0;
    // SAFETY: `token` outlives the call; pointers and lengths are of live slices.
    let status = unsafe {
        proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            trailers.as_ptr(),
            trailers.len(),
            timeout_ms,
            &raw mut token,
        )
    };
    check(status)?;
    Ok(begun(context, (true, token)))
}

/// Starts a gRPC call of a context to an Envoy cluster; the answer comes by its token.
pub fn grpc(
    context: u32,
    cluster: &str,
    service: &str,
    method: &str,
    message: &[u8],
    timeout_ms: u32,
) -> Result<Call> {
    act_on(context)?;
    let mut token = 0;
    // SAFETY: `token` outlives the call; pointers and lengths are of live slices.
    let status = unsafe {
        proxy_grpc_call(
            cluster.as_ptr(),
            cluster.len(),
            service.as_ptr(),
            service.len(),
            method.as_ptr(),
            method.len(),
            std::ptr::null(),
            0,
            message.as_ptr(),
            message.len(),
            timeout_ms,
            &raw mut token,
        )
    };
    check(status)?;
    Ok(begun(context, (false, token)))
}

fn begun(context: u32, call: Call) -> Call {
    let mut calls = UNDER_WAY.take();
    calls.push((context, call));
    UNDER_WAY.set(calls);
    call
}

/// Takes the calls out that `which` accepts.
fn taken(which: &dyn Fn(u32, Call) -> bool) -> Vec<Call> {
    let (mut calls, mut taken) = (UNDER_WAY.take(), Vec::new());
    weir_sorted::keep(&mut calls, |(of, call)| {
        let take = which(*of, *call);
        if take {
            taken.push(*call);
        }
        !take
    });
    UNDER_WAY.set(calls);
    taken
}

/// A call was answered.
pub fn ended(call: Call) {
    taken(&|_, of| of == call);
}

/// The calls of a context that ends, as a plugin does when its configuration is replaced: the host ends them with it and
/// tells nobody.
pub fn cut_off(context: u32) -> Vec<Call> {
    taken(&|of, _| of == context)
}
