//! What the suite's UDFs do, written down plainly, by value and row by row: what all languages are held to.

use std::collections::BTreeMap;

use serde_json::Value;

use super::cells::{Cell, Row, float, text};

/// The rows that a row becomes, or why it is refused.
pub(super) type Outcome = Result<Vec<Row>, &'static str>;

pub(super) fn multiply(options: &Value, row: &Row) -> Outcome {
    let factor = options.get("factor").map_or(2.0, |factor| factor.as_f64().unwrap());
    Ok(vec![vec![match &row[0] {
        Cell::Float(bits) => float(canonical(f64::from_bits(*bits) * factor)),
        other => other.clone(),
    }]])
}

/// All NaNs are one, as the host's engine has it.
fn canonical(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value }
}

pub(super) fn lower(_: &Value, row: &Row) -> Outcome {
    Ok(vec![vec![match &row[0] {
        Cell::Text(value) => text(value.chars().map(lowered).collect::<String>()),
        other => other.clone(),
    }]])
}

fn lowered(letter: char) -> char {
    match letter {
        '×' | '\u{3a2}' => letter,
        'A'..='Z' | 'À'..='Þ' | 'Α'..='Ω' | 'А'..='Я' => char::from_u32(u32::from(letter) + 32).unwrap(),
        'Ѐ'..='Џ' => char::from_u32(u32::from(letter) + 80).unwrap(),
        _ => letter,
    }
}

pub(super) fn filter(options: &Value, row: &Row) -> Outcome {
    let above = options.get("above").map_or(0.0, |above| above.as_f64().unwrap());
    Ok(match &row[0] {
        Cell::Float(bits) if f64::from_bits(*bits) > above => vec![row.clone()],
        _ => vec![],
    })
}

pub(super) fn flat_map(_: &Value, row: &Row) -> Outcome {
    let Cell::Text(value) = &row[0] else { return Ok(vec![]) };
    let words = value.split(' ').filter(|word| !word.is_empty());
    Ok((0..).zip(words).map(|(position, word)| vec![text(word), Cell::Int(position)]).collect())
}

pub(super) fn explode(_: &Value, row: &Row) -> Outcome {
    match &row[0] {
        Cell::List(items) => Ok(items.iter().map(|item| vec![item.clone()]).collect()),
        _ => Err("no list"),
    }
}

pub(super) fn echo(_: &Value, row: &Row) -> Outcome {
    Ok(vec![row.clone()])
}

/// All but value 1, which fails.
pub(super) fn fail(_: &Value, row: &Row) -> Outcome {
    if row[0] == Cell::Int(2) { Err("two is refused") } else { Ok(vec![row.clone()]) }
}

/// An aggregate by value.
pub(super) struct Aggregate {
    pub(super) initial: fn() -> Row,
    pub(super) update: fn(&Value, &mut Row, &Row) -> Result<(), &'static str>,
    pub(super) merge: fn(&Value, &mut Row, &Row),
    pub(super) evaluate: fn(&Row) -> Row,
}

pub(super) const MEAN: Aggregate = Aggregate {
    initial: || vec![float(0.0), Cell::Int(0)],
    update: |_, state, row| {
        if row[0] != Cell::Null {
            *state = vec![float(f(&state[0]) + f(&row[0])), Cell::Int(i(&state[1]) + 1)];
        }
        Ok(())
    },
    merge: |_, state, later| {
        *state = vec![float(f(&state[0]) + f(&later[0])), Cell::Int(i(&state[1]) + i(&later[1]))];
    },
    evaluate: |state| match i(&state[1]) {
        0 => vec![Cell::Null],
        count => vec![float(f(&state[0]) / count as f64)],
    },
};

pub(super) const SESSIONS: Aggregate = Aggregate {
    initial: || vec![Cell::Null, Cell::Null, Cell::Int(0)],
    update: |options, state, row| {
        let Cell::Time(time) = row[0] else { return Err("no time") };
        let sessions = i(&state[2]);
        *state = match state[1] {
            Cell::Time(last) => {
                vec![state[0].clone(), row[0].clone(), Cell::Int(sessions + i64::from(time - last > gap(options)))]
            }
            _ => vec![row[0].clone(), row[0].clone(), Cell::Int(1)],
        };
        Ok(())
    },
    merge: |options, state, later| match (&state[1], &later[0]) {
        (_, Cell::Null) => {}
        (Cell::Time(last), Cell::Time(first)) => {
            let sessions = i(&state[2]) + i(&later[2]) - i64::from(first - last <= gap(options));
            *state = vec![state[0].clone(), later[1].clone(), Cell::Int(sessions)];
        }
        _ => *state = later.clone(),
    },
    evaluate: |state| vec![state[2].clone()],
};

fn gap(options: &Value) -> i64 {
    options.get("gap_us").map_or(30_000_000, |gap| gap.as_i64().unwrap())
}

pub(super) const REGISTERS: Aggregate = Aggregate {
    initial: || vec![Cell::Bytes(vec![0; 64])],
    update: |_, state, row| {
        let (Cell::Bytes(registers), Cell::Text(value)) = (&mut state[0], &row[0]) else { return Ok(()) };
        let mut h = 0xcbf2_9ce4_8422_2325_u64;
        for byte in value.bytes() {
            h = (h ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        h = (h ^ h >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        h = (h ^ h >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        h ^= h >> 33;
        let index = usize::try_from(h % 64).unwrap();
        // The bit above those that there are stops the count.
        let rank = (0..).find(|bit| *bit == 57 || h >> (6 + bit) & 1 == 1).unwrap() + 1;
        registers[index] = registers[index].max(rank);
        Ok(())
    },
    merge: |_, state, later| {
        let (Cell::Bytes(registers), Cell::Bytes(later)) = (&mut state[0], &later[0]) else { return };
        registers.iter_mut().zip(later).for_each(|(register, later)| *register = (*register).max(*later));
    },
    evaluate: |state| {
        let Cell::Bytes(registers) = &state[0] else { panic!("{state:?}") };
        let filled = registers.iter().filter(|register| **register != 0).count();
        vec![state[0].clone(), Cell::Int(i64::try_from(filled).unwrap())]
    },
};

pub(super) const SEEN: Aggregate = Aggregate {
    initial: || vec![packed(&BTreeMap::new())],
    update: |_, state, row| {
        if let Cell::Text(value) = &row[0] {
            let mut counts = unpacked(&state[0]);
            *counts.entry(value.clone()).or_default() += 1;
            state[0] = packed(&counts);
        }
        Ok(())
    },
    merge: |_, state, later| {
        let mut counts = unpacked(&state[0]);
        for (text, count) in unpacked(&later[0]) {
            *counts.entry(text).or_default() += count;
        }
        state[0] = packed(&counts);
    },
    evaluate: |state| {
        let mut top = (Cell::Null, 0);
        for (key, count) in unpacked(&state[0]) {
            if count > top.1 {
                top = (text(key), count);
            }
        }
        vec![top.0]
    },
};

/// A map as MessagePack, all in the shortest form.
#[expect(clippy::cast_possible_truncation, reason = "each arm's bound is its width")]
fn packed(counts: &BTreeMap<String, u64>) -> Cell {
    let mut bytes = head(counts.len() as u64, [(0x80, 16)], [0xde, 0xdf]);
    for (key, count) in counts {
        bytes.extend(match key.len() {
            0..32 => vec![0xa0 | key.len() as u8],
            len @ 32..256 => vec![0xd9, len as u8],
            len => head(len as u64, [(0, 0)], [0xda, 0xdb]),
        });
        bytes.extend(key.bytes());
        bytes.extend(match *count {
            0..128 => vec![*count as u8],
            128..256 => vec![0xcc, *count as u8],
            count => head(count, [(0, 0)], [0xcd, 0xce]),
        });
    }
    Cell::Bytes(bytes)
}

/// A number as a fixed form below its bound, else in 16 or 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "each arm's bound is its width")]
fn head(number: u64, [(fixed, bound)]: [(u8, u64); 1], [short, long]: [u8; 2]) -> Vec<u8> {
    match number {
        number if number < bound => vec![fixed | number as u8],
        number if number < 1 << 16 => [&[short][..], &(number as u16).to_be_bytes()].concat(),
        number => [&[long][..], &u32::try_from(number).unwrap().to_be_bytes()].concat(),
    }
}

fn unpacked(cell: &Cell) -> BTreeMap<String, u64> {
    let Cell::Bytes(bytes) = cell else { panic!("{cell:?}") };
    let mut rest = bytes.as_slice();
    let number = |bytes: usize, rest: &mut &[u8]| {
        let (number, after) = rest.split_at(bytes);
        *rest = after;
        number.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let entries = match number(1, &mut rest) {
        short @ 0x80..0x90 => short & 15,
        0xde => number(2, &mut rest),
        _ => number(4, &mut rest),
    };
    (0..entries)
        .map(|_| {
            let length = match number(1, &mut rest) {
                short @ 0xa0..0xc0 => short & 31,
                0xd9 => number(1, &mut rest),
                0xda => number(2, &mut rest),
                _ => number(4, &mut rest),
            };
            let (key, after) = rest.split_at(usize::try_from(length).unwrap());
            rest = after;
            let count = match number(1, &mut rest) {
                short @ 0..128 => short,
                0xcc => number(1, &mut rest),
                0xcd => number(2, &mut rest),
                _ => number(4, &mut rest),
            };
            (String::from_utf8(key.to_vec()).unwrap(), count)
        })
        .collect()
}

fn f(cell: &Cell) -> f64 {
    if let Cell::Float(bits) = cell { f64::from_bits(*bits) } else { panic!("{cell:?} is no float") }
}

fn i(cell: &Cell) -> i64 {
    if let Cell::Int(value) = cell { *value } else { panic!("{cell:?} is no int") }
}
