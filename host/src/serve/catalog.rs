//! What can be asked for: views, their features, and services; and how a request's names become a [`Plan`].
//!
//! Always true: indices in a [`Plan`] are valid for the catalog that made it, and a plan reads each view once. A
//! service's plan is made when the catalog is, a feature list's at each request by hash look-ups alone.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::ServeError;
use super::error::Failure;
use crate::config::diagnostics::nearest;
use crate::store::online::OnlineView;

/// Names longer than this are shortened in messages, and not compared with the known ones.
const LONGEST_NAME: usize = 100;

/// A feature of a service.
#[derive(Clone, Debug)]
pub struct ServiceFeature {
    /// Index of its view in the catalog.
    pub view: usize,
    /// Index of the feature in [`OnlineView::features`].
    pub feature: usize,
    /// The name it is served under: the feature's own, or the service's alias for it.
    pub name: String,
}

/// Everything that is served.
#[derive(Debug)]
pub struct Catalog {
    project: String,
    views: Vec<CatalogView>,
    view_by_name: HashMap<String, usize>,
    services: HashMap<String, Plan>,
    join_keys: HashSet<String>,
}

#[derive(Debug)]
struct CatalogView {
    view: Arc<OnlineView>,
    feature_by_name: HashMap<String, usize>,
}

/// What a request reads, and in what order it answers.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// The views to read, each once.
    pub(super) reads: Vec<ViewRead>,
    /// The answer's columns after the entity's.
    pub(super) columns: Vec<Column>,
}

/// One view's part of a plan.
#[derive(Clone, Debug)]
pub(super) struct ViewRead {
    /// The view.
    pub(super) view: Arc<OnlineView>,
    /// Indices in [`OnlineView::features`].
    pub(super) features: Vec<usize>,
    index: usize,
}

/// One feature of the answer.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// Index in [`Plan::reads`].
    pub(super) read: usize,
    /// Index in that read's features.
    pub(super) slot: usize,
    /// The name without the view's.
    pub(super) name: String,
}

impl Catalog {
    /// A catalog of `views` and `services`; `project` is named in errors, as Feast does.
    ///
    /// # Errors
    /// A name is there twice, or a service names a view or feature by an index that does not exist.
    pub fn new(
        project: impl Into<String>,
        views: Vec<Arc<OnlineView>>,
        services: Vec<(String, Vec<ServiceFeature>)>,
    ) -> Result<Self, ServeError> {
        let mut catalog = Self {
            project: project.into(),
            views: Vec::with_capacity(views.len()),
            view_by_name: HashMap::with_capacity(views.len()),
            services: HashMap::with_capacity(services.len()),
            join_keys: HashSet::new(),
        };
        for (index, view) in views.into_iter().enumerate() {
            let broken = |cause: String| ServeError::Catalog { cause };
            let feature_by_name: HashMap<_, _> =
                view.features.iter().enumerate().map(|(index, (name, _))| (name.clone(), index)).collect();
            if feature_by_name.len() != view.features.len() {
                return Err(broken(format!("view {} has two features of one name", view.name)));
            }
            catalog.join_keys.extend(view.keys.iter().map(|(name, _)| name.clone()));
            if catalog.view_by_name.insert(view.name.clone(), index).is_some() {
                return Err(broken(format!("two views are named {}", view.name)));
            }
            catalog.views.push(CatalogView { view, feature_by_name });
        }
        for (name, features) in services {
            let mut plan = Plan::default();
            for ServiceFeature { view, feature, name: served } in features {
                let known = catalog.views.get(view).filter(|known| feature < known.view.features.len());
                let known = known.ok_or_else(|| ServeError::Catalog {
                    cause: format!("service {name} names feature {feature} of view {view}, which does not exist"),
                })?;
                plan.add(view, &known.view, feature, served);
            }
            if catalog.services.insert(name.clone(), plan).is_some() {
                return Err(ServeError::Catalog { cause: format!("two services are named {name}") });
            }
        }
        Ok(catalog)
    }

    /// The views, in the order they were given.
    pub fn views(&self) -> impl Iterator<Item = &Arc<OnlineView>> {
        self.views.iter().map(|known| &known.view)
    }

    /// Whether any view has a join key of this name.
    pub(super) fn is_join_key(&self, name: &str) -> bool {
        self.join_keys.contains(name)
    }

    /// The plan of a service.
    pub(super) fn service(&self, name: &str) -> Result<&Plan, Failure> {
        self.services.get(name).ok_or_else(|| {
            let guess = did_you_mean(name, self.services.keys());
            let (name, project) = (shown(name), &self.project);
            Failure::feast_not_found(
                "FeatureServiceNotFoundException",
                format!("Feature service {name} does not exist in project {project}{guess}"),
            )
        })
    }

    /// The plan of a list of `view:feature`.
    pub(super) fn features<'a>(&self, names: impl ExactSizeIterator<Item = &'a str>) -> Result<Plan, Failure> {
        let mut plan = Plan { columns: Vec::with_capacity(names.len()), ..Plan::default() };
        for (position, reference) in names.enumerate() {
            let place = || format!("features[{position}]");
            let Some((view_name, feature_name)) = reference.split_once(':') else {
                let message = format!("{:?} is not of the form view:feature", shown(reference));
                return Err(Failure::unprocessable("bad-feature", message, place()));
            };
            let Some((index, known)) =
                self.view_by_name.get(view_name).and_then(|&index| Some((index, self.views.get(index)?)))
            else {
                let guess = did_you_mean(view_name, self.view_by_name.keys());
                let (name, project) = (shown(view_name), &self.project);
                return Err(Failure::feast_not_found(
                    "FeatureViewNotFoundException",
                    format!("Feature view {name} does not exist in project {project}{guess}"),
                ));
            };
            let Some(&feature) = known.feature_by_name.get(feature_name) else {
                let guess = did_you_mean(feature_name, known.feature_by_name.keys());
                let message = format!("feature view {view_name} has no feature {}{guess}", shown(feature_name));
                return Err(Failure::not_found("unknown-feature", message, place()));
            };
            plan.add(index, &known.view, feature, feature_name.to_owned());
        }
        Ok(plan)
    }
}

impl Plan {
    fn add(&mut self, index: usize, view: &Arc<OnlineView>, feature: usize, name: String) {
        let read = match self.reads.iter().position(|read| read.index == index) {
            Some(read) => read,
            None => {
                self.reads.push(ViewRead { view: view.clone(), features: Vec::new(), index });
                self.reads.len() - 1
            }
        };
        if let Some(planned) = self.reads.get_mut(read) {
            let slot = match planned.features.iter().position(|&known| known == feature) {
                Some(slot) => slot,
                None => {
                    planned.features.push(feature);
                    planned.features.len() - 1
                }
            };
            self.columns.push(Column { read, slot, name });
        }
    }

    /// The view of a column.
    pub(super) fn view_of(&self, column: &Column) -> &str {
        self.reads.get(column.read).map_or("", |read| &read.view.name)
    }

    /// The name of a column in the answer.
    pub(super) fn served_name<'a>(&'a self, column: &'a Column, full: bool) -> Cow<'a, str> {
        match full {
            true => Cow::Owned(format!("{}__{}", self.view_of(column), column.name)),
            false => Cow::Borrowed(&column.name),
        }
    }

    /// Refuses a plan that would answer two columns under one name, which no client could tell apart.
    pub(super) fn check_names(&self, full: bool) -> Result<(), Failure> {
        let mut seen = HashSet::with_capacity(self.columns.len());
        match self.columns.iter().find(|column| !seen.insert((full.then(|| self.view_of(column)), &column.name))) {
            None => Ok(()),
            Some(column) => {
                let name = self.served_name(column, full);
                let next = match full {
                    true => "ask for each feature once",
                    false => "use \"full_feature_names\": true, or ask for each feature once",
                };
                let message = format!("two of the features asked for are named {name}: {next}");
                Err(Failure::unprocessable("duplicate-name", message, "features"))
            }
        }
    }
}

/// A name from outside, cut to a length that a message can bear.
pub(super) fn shown(name: &str) -> Cow<'_, str> {
    match name.char_indices().nth(LONGEST_NAME) {
        None => Cow::Borrowed(name),
        Some((end, _)) => Cow::Owned(format!("{}…", name.get(..end).unwrap_or_default())),
    }
}

/// `; did you mean X?` where a known name is near, else nothing. Long names are left alone: comparing them costs their
/// lengths' product.
pub(super) fn did_you_mean<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> String {
    if name.len() > LONGEST_NAME {
        return String::new();
    }
    let known = known.map(String::as_str).filter(|known| known.len() <= LONGEST_NAME);
    nearest(name, known).map_or_else(String::new, |known| format!("; did you mean {known}?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ColumnType;

    fn catalog() -> Catalog {
        let view = |name: &str, features: &[&str]| {
            Arc::new(OnlineView {
                name: name.into(),
                keys: vec![("id".into(), ColumnType::Int64)],
                features: features.iter().map(|name| ((*name).into(), ColumnType::Float64)).collect(),
                ttl: None,
            })
        };
        let views = vec![view("cards", &["sum", "mean"]), view("geo", &["country", "mean"])];
        let feature = |view, feature, name: &str| ServiceFeature { view, feature, name: name.into() };
        let service = vec![feature(1, 0, "home"), feature(0, 1, "mean"), feature(1, 1, "geo_mean")];
        Catalog::new("demo", views, vec![("fraud".into(), service)]).unwrap()
    }

    #[test]
    fn a_plan_reads_each_view_once_and_answers_in_the_order_asked() {
        let catalog = catalog();
        let plan = catalog.features(["geo:mean", "cards:sum", "geo:country"].into_iter()).unwrap();
        let reads: Vec<_> = plan.reads.iter().map(|read| (read.view.name.as_str(), read.features.clone())).collect();
        assert_eq!(reads, [("geo", vec![1, 0]), ("cards", vec![0])]);
        let columns: Vec<_> = plan.columns.iter().map(|c| (c.read, c.slot, plan.served_name(c, true))).collect();
        assert_eq!(
            columns,
            [(0, 0, "geo__mean".into()), (1, 0, "cards__sum".into()), (0, 1, Cow::from("geo__country"))]
        );
        let service = catalog.service("fraud").unwrap();
        let names: Vec<_> = service.columns.iter().map(|column| service.served_name(column, false)).collect();
        assert_eq!(names, ["home", "mean", "geo_mean"]);
        assert_eq!(service.reads.len(), 2);
    }

    #[test]
    fn unknown_names_come_with_the_nearest_known_one() {
        let catalog = catalog();
        let text = |names: [&str; 1]| catalog.features(names.into_iter()).unwrap_err().to_string();
        assert_eq!(text(["card:sum"]), "Feature view card does not exist in project demo; did you mean cards?");
        assert_eq!(text(["zebra:sum"]), "Feature view zebra does not exist in project demo");
        assert_eq!(text(["cards:maen"]), "feature view cards has no feature maen; did you mean mean?");
        assert_eq!(text(["cards"]), "\"cards\" is not of the form view:feature");
        let long = "x".repeat(1_000_000);
        assert!(text([&format!("{long}:sum")]).len() < 200);
    }

    #[test]
    fn two_columns_of_one_name_are_refused_unless_full_names_tell_them_apart() {
        let catalog = catalog();
        let plan = catalog.features(["cards:mean", "geo:mean"].into_iter()).unwrap();
        assert!(plan.check_names(true).is_ok());
        assert!(plan.check_names(false).unwrap_err().to_string().contains("full_feature_names"));
        let plan = catalog.features(["cards:mean", "cards:mean"].into_iter()).unwrap();
        assert!(plan.check_names(true).unwrap_err().to_string().contains("cards__mean"));
    }

    #[test]
    fn a_catalog_that_does_not_hold_together_is_refused() {
        let views: Vec<_> = catalog().views().cloned().collect();
        let twice = [views.clone(), views.clone()].concat();
        assert!(Catalog::new("demo", twice, Vec::new()).is_err());
        let service = vec![ServiceFeature { view: 0, feature: 9, name: "x".into() }];
        assert!(Catalog::new("demo", views, vec![("s".into(), service)]).is_err());
    }
}
