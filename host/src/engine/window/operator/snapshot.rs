//! A windowed view's state for a checkpoint: the panes' rows that changed, and what was last given of the keys.
//!
//! That a pane has gone is not said: the watermark says it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::Int64Type;

use super::WindowOperator;
use crate::engine::guard::GuardError;
use crate::engine::key;
use crate::engine::state::{Part, SHARD, Stateful, foreign, marks, numbers};
use crate::engine::udf::CallError;

/// The tables; those below are the grids, each with its panes by number.
const NEWEST: u16 = 1_000;
const FORGOTTEN: u16 = 1_001;
const GIVEN: u16 = 1_002;

impl Stateful for WindowOperator {
    fn export(&mut self, whole: bool, out: &mut Vec<Part>) -> Result<(), CallError> {
        out.push(Part::shared(&[self.fired, self.watermark])?);
        for (table, grid) in (0..NEWEST).zip(&mut self.grids) {
            grid.export(table, whole, &self.keys, out)?;
        }
        if self.plan.update {
            let mut slots = self.observed.take();
            if whole {
                slots = self.keys.slots().collect();
            }
            slots.retain(|slot| self.keys.is_held(*slot));
            let newest: ArrayRef = Arc::new(slots.iter().map(|slot| self.keys.newest(*slot)).collect::<Int64Array>());
            if !slots.is_empty() {
                out.push(Part::keyed(NEWEST, 0, slots.iter().map(|slot| self.keys.key(*slot)), &[newest])?);
            }
        }
        if self.plan.skip_unchanged {
            self.emitted.export([FORGOTTEN, GIVEN], whole, &self.keys, out)?;
        }
        Ok(())
    }

    fn import(&mut self, parts: &[Part]) -> Result<(), GuardError> {
        if let Some([fired, watermark]) = marks(parts)?.as_deref() {
            (self.fired, self.watermark) = (*fired, *watermark);
        }
        // What is said of keys is for those that live, so the panes come first.
        for part in parts {
            match part.table {
                SHARD | NEWEST | FORGOTTEN | GIVEN => {}
                table => self.grids.get_mut(usize::from(table)).ok_or_else(foreign)?.import(part, &mut self.keys)?,
            }
        }
        self.expire();
        for part in parts {
            match part.table {
                NEWEST => {
                    let times = numbers::<Int64Type>(part.columns().first())?;
                    for (key, time) in part.keys().ok_or_else(foreign)?.iter().zip(times.values()) {
                        if let Some(slot) = key.and_then(|key| self.keys.find(key::hash(key), key)) {
                            self.keys.observe(slot, *time);
                        }
                    }
                }
                FORGOTTEN => self.emitted.import_forgotten(part, &self.keys),
                GIVEN => self.emitted.import(part, &self.keys)?,
                _ => {}
            }
        }
        Ok(())
    }
}
