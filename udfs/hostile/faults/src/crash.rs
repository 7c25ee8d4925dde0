//! Calls that do not come back.

use std::hint::black_box;

/// Runs for ever.
pub(crate) fn endless_loop() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Runs for long, then comes back.
pub(crate) fn slow(turns: u64) {
    for turn in 0..turns {
        black_box(turn);
    }
}

/// Takes memory until there is none.
pub(crate) fn memory_bomb() -> ! {
    let mut taken = Vec::new();
    loop {
        taken.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Calls itself until the stack ends.
#[expect(unconditional_recursion, reason = "that is the fault")]
pub(crate) fn deep_recursion(depth: u64) -> u64 {
    let room = black_box([depth; 16]);
    deep_recursion(depth + 1) + black_box(room).iter().sum::<u64>()
}

/// Reads where there is no memory.
#[expect(unsafe_code, reason = "that is the fault")]
pub(crate) fn out_of_bounds() -> u8 {
    // SAFETY: there is none. WebAssembly traps, for no instance has memory up to its last address.
    unsafe { std::ptr::read_volatile(black_box(usize::MAX) as *const u8) }
}
