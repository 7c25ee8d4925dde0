//! Transforms: `value` comes back as `copied`, but for the fault.

use std::cell::RefCell;

use crate::Faults;
use crate::bindings::exports::millrace::feature::transform::{Guest, Output, Signature};
use crate::bindings::millrace::feature::columns::{Batch, Column, Field, Rejection};
use crate::bindings::millrace::feature::log::{Level, log};
use crate::catalogue::TRANSFORMS;
use crate::columns::{Bound, check_input, field, from_u32s, utf8};
use crate::crash;

/// Less than a guest's memory limit of 64 MiB, and far more than it should hand back.
const GIANT: usize = 24 << 20;
/// Rows of `output_rows_giant`: their offsets and origins fit the memory too.
const GIANT_ROWS: u32 = 2 << 20;
const LOG_LINES: u32 = 100_000;

thread_local! {
    static BOUND: RefCell<Bound> = RefCell::default();
}

impl Guest for Faults {
    fn names() -> Vec<String> {
        TRANSFORMS.iter().map(|name| (*name).to_owned()).collect()
    }

    fn bind(name: String, input: Vec<Field>, options: String) -> Result<Signature, String> {
        let nullable = name != "null_where_none_may_be";
        let mut signature = Signature { input: check_input(&input)?, output: vec![field("copied", "u", nullable)] };
        match name.as_str() {
            "bind_error" => return Err("these columns do not please".to_owned()),
            "bind_trap" => panic!("bound to fail"),
            "bind_loop" => crash::endless_loop(),
            "bind_unknown_format" => signature.output = vec![field("copied", "w:16", true)],
            "bind_unknown_input" => signature.input.push("nowhere".to_owned()),
            "bind_same_output_twice" => signature.output.push(field("copied", "u", true)),
            known if TRANSFORMS.contains(&known) => {}
            unknown => return Err(format!("no transform `{unknown}`")),
        }
        BOUND.set(Bound::new(name, &options));
        Ok(signature)
    }

    fn apply(input: Batch) -> Result<Output, String> {
        let bound = BOUND.with_borrow(Clone::clone);
        if bound.shows_in(&input) { fault(&bound, input) } else { Ok(honest(input)) }
    }
}

fn honest(batch: Batch) -> Output {
    Output { batch, origin: None, rejected: Vec::new() }
}

fn rejection(row: u32) -> Rejection {
    Rejection { row, reason: "refused".to_owned() }
}

fn text(len: usize) -> String {
    "x".repeat(len)
}

/// The buffers of the one column.
fn buffers(output: &mut Output) -> &mut Vec<Vec<u8>> {
    &mut output.batch.columns.first_mut().expect("one column came in").buffers
}

/// The offsets, changed; there are at least two.
fn with_offsets(mut output: Output, change: impl FnOnce(&mut Vec<u32>)) -> Output {
    let buffers = buffers(&mut output);
    let bytes = buffers.get_mut(1).expect("text has offsets");
    let mut offsets = bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
    change(&mut offsets);
    *bytes = from_u32s(offsets);
    output
}

fn fault(bound: &Bound, input: Batch) -> Result<Output, String> {
    let rows = input.rows;
    let mut output = honest(input);
    let origin = |output: &mut Output, origin: Vec<u32>| output.origin = Some(from_u32s(origin));
    match bound.name.as_str() {
        "endless_loop" => crash::endless_loop(),
        "slow" => crash::slow(bound.turns),
        "memory_bomb" => crash::memory_bomb(),
        "deep_recursion" => return Err(format!("the stack ended at {}", crash::deep_recursion(0))),
        "trap" => panic!("poisoned"),
        "out_of_bounds" => return Err(format!("read {}", crash::out_of_bounds())),
        "error" => return Err("the UDF will not".to_owned()),
        "error_giant" => return Err(text(GIANT)),
        "log_flood" => (0..LOG_LINES).for_each(|line| log(Level::Error, &format!("line {line}"))),
        "log_giant" => log(Level::Error, &text(GIANT)),
        "rows_too_few" => output.batch.rows = rows.saturating_sub(1),
        "rows_too_many" => output.batch.rows = rows + 1,
        "rows_without_values" => {
            output.batch = Batch { rows: u32::MAX, columns: vec![Column { buffers: vec![Vec::new(); 3] }] };
        }
        "columns_missing" => output.batch.columns.clear(),
        "columns_extra" => output.batch.columns.push(utf8(&[])),
        "buffers_missing" => drop(buffers(&mut output).pop()),
        "buffers_extra" => buffers(&mut output).push(Vec::new()),
        "offsets_short" => output = with_offsets(output, |offsets| offsets.truncate(rows as usize)),
        "offsets_ragged" => {
            if let Some(offsets) = buffers(&mut output).get_mut(1) {
                offsets.pop();
            }
        }
        "offsets_backwards" => output = with_offsets(output, |offsets| offsets.reverse()),
        "offsets_negative" => {
            output = with_offsets(output, |offsets| offsets.iter_mut().skip(1).for_each(|at| *at = u32::MAX))
        }
        "offsets_beyond" => {
            output = with_offsets(output, |offsets| offsets.iter_mut().rev().take(1).for_each(|last| *last += 1_000));
        }
        "offsets_not_from_zero" => {
            output = with_offsets(output, |offsets| offsets.iter_mut().take(1).for_each(|first| *first = 1));
        }
        "utf8_invalid" => {
            if let Some(text) = buffers(&mut output).get_mut(2) {
                text.fill(0xff);
            }
        }
        "utf8_split" => {
            // Each row ends within a character: "é" is two bytes, and every row but the last takes one of them.
            let text = "é".repeat(rows as usize);
            let ends = (0..rows).map(|row| row + 1).take(rows.saturating_sub(1) as usize);
            let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
            let offsets = from_u32s(std::iter::once(0).chain(ends).chain([if rows == 1 { 1 } else { len }]));
            *buffers(&mut output) = vec![Vec::new(), offsets, text.into_bytes()];
        }
        "null_where_none_may_be" => {
            if let Some(validity) = buffers(&mut output).first_mut() {
                *validity = vec![0; rows.div_ceil(8) as usize];
            }
        }
        "origin_out_of_range" => origin(&mut output, (1..=rows).collect()),
        "origin_decreasing" => {
            output.batch = Batch { rows: 2, columns: vec![utf8(&[b"a".to_vec(), b"b".to_vec()])] };
            origin(&mut output, vec![rows.saturating_sub(1).max(1), 0]);
        }
        "origin_short" => origin(&mut output, (0..rows.saturating_sub(1)).collect()),
        "origin_ragged" => output.origin = Some(vec![0; rows as usize * 4 - 1]),
        "origin_holds_rejected" => {
            origin(&mut output, (0..rows).collect());
            output.rejected = vec![rejection(0)];
        }
        "rejected_out_of_range" => output.rejected = vec![rejection(rows)],
        "rejected_twice" => output.rejected = vec![rejection(0), rejection(0)],
        "rejected_descending" => output.rejected = vec![rejection(rows.saturating_sub(1)), rejection(0)],
        "reason_giant" => output.rejected = vec![Rejection { row: 0, reason: text(GIANT) }],
        "output_giant" => {
            output.batch = Batch { rows: 1, columns: vec![utf8(&[text(GIANT).into_bytes()])] };
            origin(&mut output, vec![0]);
        }
        "output_rows_giant" => {
            let offsets = vec![0; (GIANT_ROWS as usize + 1) * 4];
            let column = Column { buffers: vec![Vec::new(), offsets, Vec::new()] };
            output.batch = Batch { rows: GIANT_ROWS, columns: vec![column] };
            output.origin = Some(vec![0; GIANT_ROWS as usize * 4]);
        }
        _ => {}
    }
    Ok(output)
}
