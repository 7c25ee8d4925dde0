//! The contract's host side, as `bindgen!` generates it from `wit/feature.wit`, and nothing else.
//!
//! The world `udf` exports both interfaces; it is never instantiated whole. Each interface is loaded through its own
//! `GuestIndices`, so that a component which exports only one of them fits. Arguments are lowered straight from borrowed
//! slices, hence the `…Param` and `…Result` pair of every type that goes both ways.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "udf",
    imports: { default: trappable },
    ownership: Borrowing { duplicate_if_necessary: true },
    additional_derives: [PartialEq],
});
