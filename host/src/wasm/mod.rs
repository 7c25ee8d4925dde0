//! User code: WebAssembly components behind the engine's traits. The only place that knows wasmtime.
