//! `window`, of a view or of a feature.

use std::time::Duration;

use super::super::diagnostics::Spanned;
use super::super::project::Window;
use super::super::section::{Section, Value};

/// Windows end on whole milliseconds, because a row is stamped with its window's last one.
const TICK: Duration = Duration::from_millis(1);

/// The most rows that a frame is bounded to.
pub(super) const MOST_ROWS: i64 = 10_000;

/// What a window can be, each with its keys.
const KINDS: &str = "`sliding`, `tumbling`, `session`, `over` or `rows`";

pub(super) fn read(value: &Value<'_>) -> Option<Spanned<Window>> {
    let mut section = value.section()?;
    let sliding = section.get("sliding");
    let tumbling = section.get("tumbling");
    let session = section.get("session");
    let over = section.get("over");
    let rows = section.get("rows");
    let step = section.get("step");
    let offset = section.get("offset");
    section.finish();
    let kinds: Vec<_> = [&sliding, &tumbling, &session, &over].into_iter().flatten().collect();
    if let [first, second, ..] = kinds.as_slice() {
        second.error(format!("a window is one of {KINDS}: here are `{}` and `{}`", first.name, second.name));
        return None;
    }
    if sliding.is_none()
        && let Some(step) = &step
    {
        step.error("`step` goes with `sliding`: leave it out");
        return None;
    }
    if sliding.is_none()
        && tumbling.is_none()
        && let Some(offset) = &offset
    {
        offset.error("`offset` goes with `sliding` and `tumbling`: leave it out");
        return None;
    }
    if let Some(rows) = rows.as_ref().filter(|_| over.is_none() && !kinds.is_empty()) {
        rows.error("`rows` of a window goes with `over`; inside other windows give it to the feature");
        return None;
    }
    let offset = match offset {
        Some(offset) => whole(&offset, offset.duration()?)?,
        None => Duration::ZERO,
    };
    let window = if let Some(sliding) = &sliding {
        let size = size(sliding)?;
        let Some(step) = step else {
            sliding.error("a sliding window lacks `step`, such as { sliding = \"10m\", step = \"1m\" }");
            return None;
        };
        let length = self::size(&step)?;
        if length > size {
            step.error("`step` is longer than the window: rows between windows would be in none");
            return None;
        }
        check_offset(value, offset, length)?;
        Window::Sliding { size, step: length, offset }
    } else if let Some(tumbling) = &tumbling {
        let size = size(tumbling)?;
        check_offset(value, offset, size)?;
        Window::Tumbling { size, offset }
    } else if let Some(session) = &session {
        Window::Session { gap: size(session)? }
    } else if over.is_some() || rows.is_some() {
        let rows = match &rows {
            Some(rows) => Some(rows.integer(1..=MOST_ROWS)?),
            None => None,
        };
        self::over(over.as_ref(), rows)?
    } else {
        value.error(format!("`window` lacks {KINDS}; without a window leave it out"));
        return None;
    };
    Some(Spanned::new(window, value.span()))
}

/// `over = "2m"`, `over = "unbounded"`, with or without `rows`.
fn over(over: Option<&Value<'_>>, rows: Option<u32>) -> Option<Window> {
    let range = match over {
        Some(over) if over.is_string() && over.string().is_some_and(|text| text.value == "unbounded") => None,
        Some(over) => Some(over.positive_duration()?),
        None => None,
    };
    Some(Window::Over { range, rows })
}

fn size(value: &Value<'_>) -> Option<Duration> {
    whole(value, value.positive_duration()?)
}

fn whole(value: &Value<'_>, duration: Duration) -> Option<Duration> {
    if !duration.as_nanos().is_multiple_of(TICK.as_nanos()) {
        value.error(format!("`{}` must be whole milliseconds", value.name));
        return None;
    }
    Some(duration)
}

fn check_offset(window: &Value<'_>, offset: Duration, step: Duration) -> Option<()> {
    if offset >= step {
        window.error("`offset` must be shorter than what it shifts, the step from one window to the next");
        return None;
    }
    Some(())
}

/// A feature's own window in a view whose window is `view`: reported where the two do not go together.
pub(super) fn of_feature(section: &mut Section<'_>, view: Option<Window>) -> Option<Spanned<Window>> {
    let value = section.get("window")?;
    let own = read(&value)?;
    let Some(view) = view else {
        value.error(
            "a feature has a window of its own beside the view's: give the view one, which says when rows are given",
        );
        return None;
    };
    match (view.grid(), own.value.grid(), view, own.value) {
        (Some((_, step, offset)), Some((_, own_step, own_offset)), ..) => {
            if own_step.as_nanos() % step.as_nanos() != 0 {
                let message = format!(
                    "the feature's step of {own_step:?} is no multiple of the view's step of {step:?}, at which rows are given"
                );
                value.error(message);
                return None;
            }
            if !own_offset.is_zero() && own_offset != offset {
                value.error("`offset` is the view's: leave it out here");
                return None;
            }
            Some(Spanned::new(own.value.with_offset(offset), own.span))
        }
        (_, _, Window::Over { .. }, Window::Over { .. }) => Some(own),
        (_, _, Window::Session { .. }, _) | (_, _, _, Window::Session { .. }) => {
            value.error("sessions do not go beside other windows in one view: make it a view of its own");
            None
        }
        _ => {
            value.error("the view gives a row for each row (`over`) or at each step (`sliding`, `tumbling`): a feature's own window is of the same kind");
            None
        }
    }
}
