//! `POST /get-online-features`: names → plan → one read a view, all at once → columns.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::future::try_join_all;

use super::catalog::{Plan, ViewRead};
use super::error::{Failure, json};
use super::keys::{self, ViewKeys};
use super::request::{FeaturesRequest, Scalar, Text};
use super::response::{self, ViewRows};
use super::{App, Shared, metrics, read_body};

/// More features than any model takes.
const MOST_FEATURES: usize = 10_000;

/// The endpoint.
pub(super) async fn get_online_features(
    State(shared): State<Arc<Shared>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Failure> {
    let app = &shared.app;
    let body = read_body(body, app.limits.body)?;
    let request = FeaturesRequest::parse(&body)?;
    let plan = plan(app, &request)?;
    plan.check_names(request.full_feature_names)?;

    let rows = keys::row_count(&request.entities, app.limits.rows)?;
    let columns = plan.columns.len() + request.entities.0.len();
    if rows.saturating_mul(columns) > app.limits.cells {
        let message = format!(
            "{rows} rows of {columns} columns are more than the {} values of one request: send several",
            app.limits.cells
        );
        return Err(Failure::too_large(message, "entities"));
    }
    let keys = plan.reads.iter().map(|read| keys::view_keys(&request.entities, &read.view, rows));
    let keys: Vec<ViewKeys> = keys.collect::<Result<_, _>>()?;
    let views = match (&plan.reads[..], &keys[..]) {
        ([one], [keys]) => vec![read(app, one, keys, rows).await?],
        (reads, keys) => try_join_all(reads.iter().zip(keys).map(|(one, keys)| read(app, one, keys, rows))).await?,
    };

    // Names that are no join key are ignored, as Feast ignores them.
    let entities: Vec<_> = request.entities.0.iter().filter(|(name, _)| app.catalog.is_join_key(&name.0)).collect();
    if let Some((Text(name), _)) = entities.iter().find(|(_, values)| values.iter().any(is_compound)) {
        let message = format!("key {name}: a list or an object is no key");
        return Err(Failure::unprocessable("bad-key", message, format!("entities.{name}")));
    }
    let list_views = request.include_feature_view_version_metadata;
    let (body, statuses) = response::write(&plan, &entities, &views, request.full_feature_names, list_views);
    metrics::served(statuses);
    Ok(json(StatusCode::OK, body))
}

fn is_compound(value: &Scalar<'_>) -> bool {
    matches!(value, Scalar::Compound(_))
}

/// A service where one is named, else the list of features.
fn plan<'a>(app: &'a App, request: &FeaturesRequest<'_>) -> Result<Cow<'a, Plan>, Failure> {
    match &request.feature_service {
        Some(service) => Ok(Cow::Borrowed(app.catalog.service(service)?)),
        None if request.features.is_empty() => {
            let message = "name \"features\" as [\"view:feature\"], or a \"feature_service\"".to_owned();
            Err(Failure::unprocessable("no-features", message, "features"))
        }
        None if request.features.len() > MOST_FEATURES => {
            Err(Failure::too_large(format!("at most {MOST_FEATURES} features a request"), "features"))
        }
        None => Ok(Cow::Owned(app.catalog.features(request.features.iter().map(|name| name.0.as_ref()))?)),
    }
}

async fn read(app: &App, one: &ViewRead, keys: &ViewKeys, rows: usize) -> Result<ViewRows, Failure> {
    let view = &*one.view;
    let found = match keys.keys.is_empty() {
        true => Vec::new(),
        false => {
            let read = app.reader.read(view, &keys.keys, &one.features);
            read.await.map_err(|error| Failure::store(&error, &view.name))?
        }
    };
    let whole = found.iter().flatten().all(|row| row.values.len() == one.features.len());
    if found.len() != keys.keys.len() || !whole {
        let cause =
            format!("the store gave {} rows for {} keys, or rows of another width", found.len(), keys.keys.len());
        return Err(Failure::internal(&cause, format!("view {}", view.name)));
    }
    Ok(ViewRows::new(rows, keys, found, view.ttl, app.freshness.moment(view)))
}
