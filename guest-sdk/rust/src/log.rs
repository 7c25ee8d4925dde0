//! Lines for the host's log, which limits their rate. In the author's own tests they go to standard error.

use std::sync::Once;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For whoever looks for a fault.
    Debug,
    /// For whoever watches.
    Info,
    /// Something is not as it should be.
    Warn,
    /// Something failed.
    Error,
}

/// Writes a line to the host's log. The macros [`debug!`](crate::debug), [`info!`](crate::info), [`warn!`](crate::warn)
/// and [`error!`](crate::error) format it.
pub fn log(level: Level, message: &str) {
    #[cfg(target_family = "wasm")]
    {
        use crate::bindings::transform_udf::millrace::feature::log as host;
        let level = match level {
            Level::Debug => host::Level::Debug,
            Level::Info => host::Level::Info,
            Level::Warn => host::Level::Warn,
            Level::Error => host::Level::Error,
        };
        host::log(level, message);
    }
    #[cfg(not(target_family = "wasm"))]
    eprintln!("{level:?}: {message}");
}

/// Logs what a panic says, since the host sees only that the instance trapped.
pub(crate) fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|panic| log(Level::Error, &panic.to_string()))));
}

/// Writes a line for whoever looks for a fault to the host's log.
#[macro_export]
macro_rules! debug {
    ($($argument:tt)*) => { $crate::log::log($crate::log::Level::Debug, &::std::format!($($argument)*)) };
}

/// Writes a line for whoever watches to the host's log.
#[macro_export]
macro_rules! info {
    ($($argument:tt)*) => { $crate::log::log($crate::log::Level::Info, &::std::format!($($argument)*)) };
}

/// Writes a line about something that is not as it should be to the host's log.
#[macro_export]
macro_rules! warn {
    ($($argument:tt)*) => { $crate::log::log($crate::log::Level::Warn, &::std::format!($($argument)*)) };
}

/// Writes a line about something that failed to the host's log.
#[macro_export]
macro_rules! error {
    ($($argument:tt)*) => { $crate::log::log($crate::log::Level::Error, &::std::format!($($argument)*)) };
}
