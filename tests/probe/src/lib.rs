//! A filter that measures what Weir's design rests on and its documentation does not promise; not a part of Weir.
//! The plugin's configuration names its role, see [`Role`]. `idle` is the filter that does nothing in benchmarks.

mod roles;

use proxy_wasm::traits::{Context, RootContext};
use proxy_wasm::types::{ContextType, LogLevel};

use roles::{Rewriter, Sharer};

/// Which code this is.
const VERSION: &str = if cfg!(feature = "second-version") { "2" } else { "1" };

/// What an instance does.
#[derive(Clone, Copy)]
enum Role {
    /// Nothing, at every callback.
    Idle,
    /// Sets one filter-state key again and again, and tells what it then reads.
    Rewriter,
    /// Tells what shared data holds, then writes its own version there.
    Sharer,
}

struct Root {
    role: Role,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        self.role = match self.get_plugin_configuration().as_deref() {
            Some(b"rewriter") => Role::Rewriter,
            Some(b"sharer") => Role::Sharer,
            Some(b"idle") => Role::Idle,
            _ => return false,
        };
        true
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn proxy_wasm::traits::HttpContext>> {
        Some(match self.role {
            Role::Idle => Box::new(roles::Idle),
            Role::Rewriter => Box::new(Rewriter::default()),
            Role::Sharer => Box::new(Sharer { version: VERSION }),
        })
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// What Envoy calls first.
#[allow(unsafe_code, reason = "the host finds the function by its name")]
#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root { role: Role::Idle }));
}
