//! Random views, as plain data and as TOML.
//!
//! Views read the source `a`, whose events may be late, the ordered source `b`, both, or a view before them that corrects
//! nothing.

use std::fmt::Write;

use proptest::prelude::*;

/// What a view reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    A,
    B,
    Both,
    /// A view before it, by its number.
    View(usize),
}

/// Beyond this `x` is NaN in [`Column::Nan`].
pub(super) const GREAT: f64 = 4.0;

/// A column of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    V,
    X,
    S,
    Big,
    /// `x`, but NaN where it is great: what JSON cannot bring.
    Nan,
    /// What a join brought.
    Joined,
    /// The first feature of a view that is read.
    First,
}

impl Column {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::V => "v",
            Self::X => "x",
            Self::S => "s",
            Self::Big => "big",
            Self::Nan => "nan",
            Self::Joined => "jv",
            Self::First => "f0",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aggregate {
    Rows,
    Count,
    Sum,
    Avg,
    Min,
    Max,
    Stddev,
    First,
    Last,
    Distinct,
    ValueCounts,
    RowNumber,
}

impl Aggregate {
    fn name(self) -> &'static str {
        match self {
            Self::Rows | Self::Count => "count",
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Stddev => "stddev_samp",
            Self::First => "first",
            Self::Last => "last",
            Self::Distinct => "count_distinct",
            Self::ValueCounts => "value_counts",
            Self::RowNumber => "row_number",
        }
    }
}

/// `column > 1`, or `column = 'a'` of the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filter(pub(super) Column);

impl Filter {
    fn sql(self) -> String {
        match self.0 {
            Column::S => "s = 'a'".to_owned(),
            column => format!("{} > 1", column.name()),
        }
    }
}

/// Milliseconds all; steps divide nothing but themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Window {
    Latest,
    Grid { size: i64, step: i64, offset: i64 },
    Session { gap: i64 },
    Over { range: Option<i64>, rows: Option<usize> },
}

impl Window {
    fn toml(self) -> String {
        match self {
            Self::Latest => String::new(),
            Self::Grid { size, step, offset } if size == step => {
                format!("{{ tumbling = \"{size}ms\", offset = \"{offset}ms\" }}")
            }
            Self::Grid { size, step, offset } => {
                format!("{{ sliding = \"{size}ms\", step = \"{step}ms\", offset = \"{offset}ms\" }}")
            }
            Self::Session { gap } => format!("{{ session = \"{gap}ms\" }}"),
            Self::Over { range: None, rows: None } => "{ over = \"unbounded\" }".to_owned(),
            Self::Over { range: None, rows: Some(rows) } => format!("{{ rows = {rows} }}"),
            Self::Over { range: Some(range), rows: None } => format!("{{ over = \"{range}ms\" }}"),
            Self::Over { range: Some(range), rows: Some(rows) } => {
                format!("{{ over = \"{range}ms\", rows = {rows} }}")
            }
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Feature {
    pub(super) aggregate: Aggregate,
    pub(super) of: Column,
    pub(super) filter: Option<Filter>,
    pub(super) rows: Option<usize>,
    pub(super) window: Option<Window>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Join {
    pub(super) within: Option<i64>,
    pub(super) drops: bool,
}

#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) from: From,
    /// With `b`, by key.
    pub(super) join: Option<Join>,
    pub(super) filter: Option<Filter>,
    pub(super) window: Window,
    pub(super) lateness: i64,
    pub(super) emit_empty: bool,
    pub(super) skip_unchanged: bool,
    pub(super) features: Vec<Feature>,
    /// A last feature `f0 * 2`.
    pub(super) doubled: bool,
}

impl View {
    /// One feature that counts, or sums what a view counts; without a window it is `v`.
    pub(super) fn counting(from: From, window: Window) -> Self {
        let (aggregate, of) = match from {
            From::View(_) => (Aggregate::Sum, Column::First),
            _ => (Aggregate::Rows, Column::V),
        };
        let first = Feature { aggregate, of, filter: None, rows: None, window: None };
        Self {
            from,
            join: None,
            filter: None,
            window,
            lateness: 0,
            emit_empty: true,
            skip_unchanged: true,
            features: vec![first],
            doubled: false,
        }
    }

    pub(super) fn name(number: usize) -> String {
        format!("view{number}")
    }

    pub(super) fn toml(&self, number: usize) -> String {
        let mut text = format!("[views.{}]\nentity = \"key\"\nonline = false\noffline = false\n", Self::name(number));
        let mut line = |line: String| writeln!(text, "{line}").unwrap();
        line(match self.from {
            From::A => "from = \"a\"".to_owned(),
            From::B => "from = \"b\"".to_owned(),
            From::Both => "from = [\"a\", \"b\"]".to_owned(),
            From::View(other) => format!("from = \"{}\"", Self::name(other)),
        });
        if let Some(Join { within, drops }) = self.join {
            let within = within.map_or(String::new(), |within| format!(", within = \"{within}ms\""));
            let miss = if drops { "drop" } else { "null" };
            line(format!(
                "join = {{ source = \"b\", on = [\"k\"], columns = {{ jv = \"v\" }}, on-miss = \"{miss}\"{within} }}"
            ));
        }
        if let Some(filter) = self.filter {
            line(format!("where = \"{}\"", filter.sql()));
        }
        if self.window != Window::Latest {
            line(format!("window = {}", self.window.toml()));
        }
        if let Window::Grid { .. } = self.window {
            line(format!("emit-empty = {}\nskip-unchanged = {}", self.emit_empty, self.skip_unchanged));
            line(format!("allowed-lateness = \"{}ms\"", self.lateness));
        }
        if !matches!(self.from, From::View(_)) {
            line(format!("columns = {{ nan = \"CASE WHEN x > {GREAT} THEN CAST('NaN' AS DOUBLE) ELSE x END\" }}"));
        }
        line(format!(
            "output = {{ type = \"file\", path = \"{}.jsonl\", timestamp = {{ name = \"at\", format = \"epoch-micros\" }} }}",
            Self::name(number)
        ));
        line(format!("[views.{}.features]", Self::name(number)));
        for (number, feature) in self.features.iter().enumerate() {
            line(format!("f{number} = {}", self.feature(feature)));
        }
        if self.doubled {
            let of = if self.window == Window::Latest { self.features[0].of.name() } else { "f0" };
            line(format!("f{} = {{ expr = \"{of} * 2\" }}", self.features.len()));
        }
        text
    }

    fn feature(&self, feature: &Feature) -> String {
        if self.window == Window::Latest {
            return format!("{{ expr = \"{}\" }}", feature.of.name());
        }
        let mut text = format!("{{ aggregate = \"{}\"", feature.aggregate.name());
        if !matches!(feature.aggregate, Aggregate::Rows | Aggregate::RowNumber) {
            write!(text, ", of = \"{}\"", feature.of.name()).unwrap();
        }
        if let Some(filter) = feature.filter {
            write!(text, ", where = \"{}\"", filter.sql()).unwrap();
        }
        if let Some(rows) = feature.rows {
            write!(text, ", rows = {rows}").unwrap();
        }
        if let Some(window) = feature.window {
            write!(text, ", window = {}", window.toml()).unwrap();
        }
        text + " }"
    }
}

fn column() -> impl Strategy<Value = Column> {
    prop::sample::select(vec![Column::V, Column::X, Column::S, Column::Big])
}

fn input() -> impl Strategy<Value = Column> {
    prop_oneof![4 => column(), 1 => Just(Column::Nan)]
}

fn aggregate() -> impl Strategy<Value = Aggregate> {
    use Aggregate::{Avg, Count, Distinct, First, Last, Max, Min, RowNumber, Rows, Stddev, Sum, ValueCounts};
    prop::sample::select(vec![Rows, Count, Sum, Avg, Min, Max, Stddev, First, Last, Distinct, ValueCounts, RowNumber])
}

fn over() -> impl Strategy<Value = Window> {
    (prop::option::of((1_i64..40).prop_map(|range| range * 500)), prop::option::of(1_usize..5))
        .prop_map(|(range, rows)| Window::Over { range, rows })
}

fn window() -> impl Strategy<Value = Window> {
    let grid = (1_i64..8, 0_i64..5, 0_i64..4).prop_map(|(step, more, offset)| {
        let step = step * 500;
        // Not always a multiple: panes are then shorter than the step.
        let size = step + more * 1_500;
        Window::Grid { size, step, offset: (offset * 250).min(step - 1) }
    });
    prop_oneof![
        6 => grid,
        2 => (1_i64..12).prop_map(|gap| Window::Session { gap: gap * 500 }),
        4 => over(),
        1 => Just(Window::Latest),
    ]
}

type DrawnFeature = (Aggregate, Column, Option<Column>, Option<usize>, (i64, i64, Window, bool), bool);

fn feature() -> impl Strategy<Value = DrawnFeature> {
    let own = (1_i64..4, 0_i64..4, over(), prop::bool::weighted(0.3));
    let filter = prop::option::weighted(0.25, column());
    let rows = prop::option::weighted(0.2, 1_usize..4);
    (aggregate(), input(), filter, rows, own, prop::bool::weighted(0.5))
}

#[derive(Clone, Debug)]
struct Drawn {
    from: u8,
    join: Option<Join>,
    filter: Option<Column>,
    window: Window,
    lateness: i64,
    flags: (bool, bool, bool),
    features: Vec<DrawnFeature>,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let join = (prop::option::of((1_i64..20).prop_map(|within| within * 500)), any::<bool>());
    let join = prop::option::weighted(0.3, join.prop_map(|(within, drops)| Join { within, drops }));
    let flags = (any::<bool>(), prop::bool::weighted(0.7), prop::bool::weighted(0.3));
    let lateness = prop_oneof![2 => Just(0_i64), 1 => (0_i64..20).prop_map(|late| late * 500)];
    let filter = prop::option::weighted(0.3, column());
    let features = prop::collection::vec(feature(), 0..4);
    (0_u8..12, join, filter, window(), lateness, flags, features).prop_map(
        |(from, join, filter, window, lateness, flags, features)| Drawn {
            from,
            join,
            filter,
            window,
            lateness,
            flags,
            features,
        },
    )
}

/// Up to `most` views, and before them one of every row of each source, so that both are read.
pub(super) fn views(most: usize) -> impl Strategy<Value = Vec<View>> {
    prop::collection::vec(drawn(), 1..=most).prop_map(|drawn| {
        let mut views = vec![View::counting(From::A, Window::Latest), View::counting(From::B, Window::Latest)];
        for drawn in drawn {
            let view = resolve(drawn, &views);
            views.push(view);
        }
        views
    })
}

/// Whether others may read a view: it corrects nothing, and which of its rows say something new is beyond doubt.
fn is_steady(view: &View) -> bool {
    let exact = view.features.iter().all(|feature| feature.aggregate != Aggregate::Stddev);
    match view.window {
        Window::Grid { .. } => view.lateness == 0 && exact,
        Window::Latest | Window::Session { .. } | Window::Over { .. } => true,
    }
}

/// Whether the rows of a view are folded by another one, directly or behind views without windows.
pub(super) fn is_folded(views: &[View], number: usize) -> bool {
    views.iter().enumerate().any(|(other, view)| {
        view.from == From::View(number) && (view.window != Window::Latest || is_folded(views, other))
    })
}

fn resolve(drawn: Drawn, before: &[View]) -> View {
    let Drawn { from, join, filter, window, lateness, flags: (emit_empty, skip_unchanged, doubled), features } = drawn;
    let from = match from {
        0..=3 => From::A,
        4 | 5 => From::B,
        6 | 7 => From::Both,
        number => {
            let steady: Vec<usize> = (0..before.len()).filter(|at| before.get(*at).is_some_and(is_steady)).collect();
            steady.get(usize::from(number) % steady.len().max(1)).map_or(From::A, |at| From::View(*at))
        }
    };
    let derived = matches!(from, From::View(_));
    let join = join.filter(|_| !derived);
    let resolved = |column: Column| match (derived, &join, column) {
        (true, ..) => Column::First,
        (false, Some(_), Column::V) => Column::Joined,
        _ => column,
    };
    let first = Feature {
        aggregate: Aggregate::Rows,
        of: if derived { Column::First } else { Column::V },
        filter: None,
        rows: None,
        window: None,
    };
    let features = features.into_iter().map(|(aggregate, of, filter, rows, (times, more, over, has), _)| {
        let of = resolved(of);
        let aggregate = match (aggregate, of) {
            (Aggregate::Sum | Aggregate::Avg | Aggregate::Stddev, Column::S | Column::Big) => Aggregate::Max,
            // Rows of a view that are equal in time have no order among them.
            (Aggregate::First | Aggregate::Last, _) if derived => Aggregate::Sum,
            (aggregate, _) => aggregate,
        };
        let own = match window {
            Window::Grid { step, offset, .. } => {
                let own = step * times;
                Some(Window::Grid { size: own + more * step, step: own, offset })
            }
            Window::Over { .. } => Some(over),
            Window::Latest | Window::Session { .. } => None,
        };
        Feature {
            aggregate,
            of,
            filter: filter.map(resolved).map(Filter),
            rows: rows.filter(|_| !derived),
            window: own.filter(|_| has),
        }
    });
    let window = match window {
        Window::Over { range, .. } if derived => Window::Over { range, rows: None },
        window => window,
    };
    let features: Vec<Feature> = std::iter::once(first).chain(features).collect();
    let features = features.into_iter().map(|feature| match feature.window {
        Some(Window::Over { range, .. }) if derived => {
            Feature { window: Some(Window::Over { range, rows: None }), ..feature }
        }
        _ => feature,
    });
    View {
        from,
        join,
        filter: filter.map(resolved).map(Filter),
        window,
        lateness,
        emit_empty,
        skip_unchanged,
        features: features.collect(),
        // There the name is first of all that of the row's own column.
        doubled: doubled && !(derived && matches!(window, Window::Over { .. })),
    }
}
