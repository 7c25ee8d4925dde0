//! Which sources meet: rows of both wait in one place for one watermark.

use std::collections::BTreeSet;

use super::{Operator, Plan};
use crate::engine::front::FrontPlan;

/// Sources, by index.
type Sources = BTreeSet<u16>;

impl Plan {
    /// The sources that meet, set by set: those whose rows reach a stage that waits for a watermark, by whatever way; of a
    /// join also those of either side, since it hears how far each has come. A view without a window waits for none. A
    /// source alone is a set too, for its partitions meet each other.
    pub fn meetings(&self) -> BTreeSet<Sources> {
        let mut meetings = BTreeSet::new();
        for (stage, inputs) in self.stages.iter().zip(self.reached()) {
            if matches!(stage.operator, Operator::Latest(_)) {
                continue;
            }
            if matches!(stage.operator, Operator::Join(_)) {
                let (left, right) = inputs.split_at(inputs.len().saturating_sub(1));
                meetings.extend([union(left), union(right)]);
            }
            meetings.insert(union(&inputs));
        }
        meetings
    }

    /// The sources whose rows a service brings together, service by service.
    pub fn combined_sources(&self) -> BTreeSet<Sources> {
        let reached = self.reached();
        let of_view = |view: &u16| {
            let stage = self.views.get(usize::from(*view)).map(|view| usize::from(view.stage));
            stage.and_then(|stage| reached.get(stage)).map(|inputs| union(inputs)).unwrap_or_default()
        };
        self.services.iter().map(|service| service.views.iter().flat_map(of_view).collect()).collect()
    }

    /// For each stage the sources whose rows reach it.
    pub fn reaching(&self) -> Vec<BTreeSet<u16>> {
        self.reached().iter().map(|inputs| union(inputs)).collect()
    }

    /// For each input of each stage the sources whose rows reach it.
    fn reached(&self) -> Vec<Vec<Sources>> {
        let mut reached: Vec<_> = self.stages.iter().map(|stage| vec![Sources::new(); stage.inputs]).collect();
        for (index, source) in (0..).zip(&self.sources) {
            for front in &source.fronts {
                add(&mut reached, front, &Sources::from([index]));
            }
        }
        // A stage comes after those that it reads, so that what reaches it is whole when its turn comes.
        for (index, stage) in self.stages.iter().enumerate() {
            let own = reached.get(index).map(|inputs| union(inputs)).unwrap_or_default();
            for front in &stage.fronts {
                add(&mut reached, front, &own);
            }
        }
        reached
    }
}

fn add(reached: &mut [Vec<Sources>], front: &FrontPlan, sources: &Sources) {
    let inputs = reached.get_mut(usize::from(front.stage));
    if let Some(known) = inputs.and_then(|inputs| inputs.get_mut(usize::from(front.input))) {
        known.extend(sources);
    }
}

fn union(inputs: &[Sources]) -> Sources {
    inputs.iter().flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{plan::plan, read_text};
    use crate::wasm::{Engine, EngineOptions};

    /// The sets of a project with the sources a, b, c, d and these views.
    fn meetings(views: &str) -> (Vec<String>, Vec<String>) {
        let mut text = "[project]\nname = \"p\"\n[entities.key]\nkeys = { k = \"utf8\" }\n".to_owned();
        for source in ["a", "b", "c", "d"] {
            text += &format!(
                "[sources.{source}]\ntype = \"push\"\nschema = {{ at = \"timestamp\", k = \"utf8\", v = \"int64\" }}\n\
                 event-time = {{ column = \"at\" }}\n"
            );
        }
        text += views;
        let (project, text) = read_text("p.toml", text, Path::new("/"), &|_| None, &[]).unwrap();
        let plan = plan(&project, &text, &Engine::new(EngineOptions::default()).unwrap()).unwrap();
        let named = |sets: BTreeSet<Sources>| {
            let name = |sources: Sources| sources.iter().map(|source| plan.origin_name(*source)).collect();
            sets.into_iter().map(name).collect()
        };
        (named(plan.meetings()), named(plan.combined_sources()))
    }

    fn view(name: &str, rest: &str) -> String {
        format!("[views.{name}]\nentity = \"key\"\n{rest}\n[views.{name}.features]\n")
    }

    #[test]
    fn sources_meet_where_their_rows_wait_for_one_watermark() {
        let count = "n = { aggregate = \"count\" }\n";
        let latest = view("latest", "from = [\"a\", \"b\", \"c\", \"d\"]") + "v = { expr = \"v\" }\n";
        assert_eq!(meetings(&latest).0, Vec::<String>::new(), "no row waits there");
        let union = view("both", "from = [\"a\", \"b\"]\nwindow = { tumbling = \"1s\" }") + count;
        assert_eq!(meetings(&union).0, ["ab"]);
        let alone = view("one", "from = \"a\"\nwindow = { over = \"1s\" }") + count;
        assert_eq!(meetings(&alone).0, ["a"], "its partitions meet each other");
        // b by way of a view, c by way of a join, whose sides count for themselves too.
        let through = view("inner", "from = \"b\"") + "v = { expr = \"v\" }\n";
        let join = "join = { source = \"c\", on = [\"k\"], columns = { w = \"v\" } }\nwindow = { session = \"1s\" }";
        let outer = view("outer", &format!("from = [\"a\", \"inner\"]\n{join}")) + count;
        assert_eq!(meetings(&(through + &outer)).0, ["ab", "abc", "c"]);
    }

    #[test]
    fn sources_of_a_service_whose_rows_are_combined_meet() {
        let one = view("one", "from = \"a\"") + "v = { expr = \"v\" }\n";
        let two = view("two", "from = [\"b\", \"c\"]") + "v = { expr = \"v\" }\n";
        let service = "[services.s]\nfeatures = [\"one\", \"two:v as w\"]\noutput = { type = \"websocket\" }\n";
        assert_eq!(meetings(&(one + &two + service)), (Vec::new(), vec!["abc".to_owned()]));
    }
}
