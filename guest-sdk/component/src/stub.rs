//! WASI as far as a language's runtime cannot start without it, and nothing behind it: the clock stands still at its
//! second second (Go takes 0 for a broken one), random numbers are always the same, what is written is gone, and there are
//! no files. What would wait for something traps.

use std::collections::BTreeSet;

use wasm_encoder::ValType::{I32, I64};
use wasm_encoder::{
    BlockType, CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection,
    Instruction as I, MemArg, MemoryType, Module, TypeSection, ValType,
};

/// The module that it stands in for.
pub(crate) const MODULE: &str = "wasi_snapshot_preview1";

/// The error of a file that is not there, EBADF.
const NO_FILE: i32 = 8;

/// What a function of WASI does here.
#[derive(Clone, Copy)]
enum Does {
    /// It succeeds, at nothing.
    Nothing,
    /// It finds no such file.
    NoFile,
    /// Two counts are nought.
    NoneOfThem,
    /// The time, to where the last parameter says.
    Time,
    /// The clock's resolution, to where the last parameter says.
    Resolution,
    /// It says that all was written.
    Write,
    /// It fills memory.
    Random,
    /// It ends the instance.
    Trap,
}

/// Each function with its parameters. All return an error number, or nothing where they trap and never return.
const FUNCTIONS: [(&str, &[ValType], Does); 19] = [
    ("args_get", &[I32, I32], Does::Nothing),
    ("args_sizes_get", &[I32, I32], Does::NoneOfThem),
    ("clock_res_get", &[I32, I32], Does::Resolution),
    ("clock_time_get", &[I32, I64, I32], Does::Time),
    ("environ_get", &[I32, I32], Does::Nothing),
    ("environ_sizes_get", &[I32, I32], Does::NoneOfThem),
    ("fd_close", &[I32], Does::NoFile),
    ("fd_fdstat_get", &[I32, I32], Does::NoFile),
    ("fd_fdstat_set_flags", &[I32, I32], Does::NoFile),
    ("fd_filestat_get", &[I32, I32], Does::NoFile),
    ("fd_prestat_get", &[I32, I32], Does::NoFile),
    ("fd_prestat_dir_name", &[I32, I32, I32], Does::NoFile),
    ("fd_read", &[I32, I32, I32, I32], Does::NoFile),
    ("fd_seek", &[I32, I64, I32, I32], Does::NoFile),
    ("fd_write", &[I32, I32, I32, I32], Does::Write),
    ("poll_oneoff", &[I32, I32, I32, I32], Does::Trap),
    ("proc_exit", &[I32], Does::Trap),
    ("random_get", &[I32, I32], Does::Random),
    ("sched_yield", &[], Does::Nothing),
];

/// The stub, with these functions.
///
/// # Errors
/// One of them is not here.
pub(crate) fn module(wanted: &BTreeSet<String>) -> Result<Vec<u8>, String> {
    let mut types = TypeSection::new();
    let mut functions = FunctionSection::new();
    let mut exports = ExportSection::new();
    let mut code = CodeSection::new();
    for (index, name) in (0..).zip(wanted) {
        let Some((_, parameters, does)) = FUNCTIONS.iter().find(|(known, ..)| known == name) else {
            return Err(format!("it calls `{name}` of WASI, and a UDF has no files, no network and no processes"));
        };
        let results: &[ValType] = if name == "proc_exit" { &[] } else { &[I32] };
        types.ty().function(parameters.iter().copied(), results.iter().copied());
        functions.function(index);
        exports.export(name, ExportKind::Func, index);
        code.function(&body(*does, u32::try_from(parameters.len()).unwrap_or(0)));
    }
    let mut imports = ImportSection::new();
    let memory = MemoryType { minimum: 0, maximum: None, memory64: false, shared: false, page_size_log2: None };
    imports.import("env", "memory", EntityType::Memory(memory));
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&exports).section(&code);
    Ok(module.finish())
}

fn at(offset: u64) -> MemArg {
    MemArg { offset, align: 0, memory_index: 0 }
}

fn body(does: Does, parameters: u32) -> Function {
    let last = parameters.saturating_sub(1);
    let instructions = match does {
        Does::Nothing => vec![I::I32Const(0)],
        Does::NoFile => vec![I::I32Const(NO_FILE)],
        Does::NoneOfThem => vec![
            I::LocalGet(0),
            I::I32Const(0),
            I::I32Store(at(0)),
            I::LocalGet(1),
            I::I32Const(0),
            I::I32Store(at(0)),
            I::I32Const(0),
        ],
        Does::Time => vec![I::LocalGet(last), I::I64Const(1_000_000_000), I::I64Store(at(0)), I::I32Const(0)],
        Does::Resolution => vec![I::LocalGet(last), I::I64Const(1_000), I::I64Store(at(0)), I::I32Const(0)],
        Does::Write => write(),
        Does::Random => random(),
        Does::Trap => vec![I::Unreachable],
    };
    // One more local than parameters: the sum of `write`.
    let mut function = Function::new([(1, I32)]);
    for instruction in instructions.iter().chain([&I::End]) {
        function.instruction(instruction);
    }
    function
}

/// Adds up the lengths of the pieces: `fd, pieces, count, written`, and the sum.
fn write() -> Vec<I<'static>> {
    let (pieces, count, written, sum) = (1, 2, 3, 4);
    let mut all = each(
        count,
        &[
            I::LocalGet(sum),
            I::LocalGet(pieces),
            I::I32Load(at(4)),
            I::I32Add,
            I::LocalSet(sum),
            I::LocalGet(pieces),
            I::I32Const(8),
            I::I32Add,
            I::LocalSet(pieces),
        ],
    );
    all.extend([I::LocalGet(written), I::LocalGet(sum), I::I32Store(at(0)), I::I32Const(0)]);
    all
}

/// The same byte everywhere: `to, count`.
fn random() -> Vec<I<'static>> {
    let (to, count) = (0, 1);
    let mut all = each(
        count,
        &[
            I::LocalGet(to),
            I::I32Const(42),
            I::I32Store8(at(0)),
            I::LocalGet(to),
            I::I32Const(1),
            I::I32Add,
            I::LocalSet(to),
        ],
    );
    all.push(I::I32Const(0));
    all
}

/// Does `step` as often as the local `count` says.
fn each(count: u32, step: &[I<'static>]) -> Vec<I<'static>> {
    let mut all = vec![I::Block(BlockType::Empty), I::Loop(BlockType::Empty)];
    all.extend([I::LocalGet(count), I::I32Eqz, I::BrIf(1)]);
    all.extend(step.iter().cloned());
    all.extend([I::LocalGet(count), I::I32Const(1), I::I32Sub, I::LocalSet(count), I::Br(0), I::End, I::End]);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_is_valid() {
        let all = FUNCTIONS.iter().map(|(name, ..)| (*name).to_owned()).collect();
        let module = module(&all).unwrap();
        wasmparser::validate(&module).unwrap();
    }
}
