//! `GET /openapi.json`: what the admin listener answers, for machines.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi as _, ToSchema};

use super::{activate, letters, rebuild, replay, versions};

/// What was wrong.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Error {
    /// A short name of the kind of error, stable across releases.
    code: String,
    /// What was wrong and what to try.
    message: String,
    /// The part of the request, or of Millrace, that is concerned.
    #[serde(rename = "where")]
    place: String,
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Millrace for operators", description = "What operators ask and do, at `serve.admin`."),
    paths(
        super::graph,
        versions::views,
        versions::udfs,
        versions::versions,
        versions::upload,
        activate::activate,
        activate::rollback,
        letters::list,
        letters::show,
        replay::replay,
        rebuild::progress,
        rebuild::rebuild,
        openapi,
    ),
    components(schemas(Error)),
    security(("token" = [])),
    modifiers(&Everywhere)
)]
struct Document;

/// What may come of any request, and how a token is sent.
struct Everywhere;

impl Modify for Everywhere {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_default();
        let mut bearer = Http::new(HttpAuthScheme::Bearer);
        bearer.description = Some("One of `serve.tokens`; not asked for where there are none.".into());
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
        for item in document.paths.paths.values_mut() {
            for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                refused(operation);
            }
        }
    }
}

fn refused(operation: &mut Operation) {
    let mut add = |status: &str, description: &str| {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Error"))).build();
        let response = ResponseBuilder::new().description(description).content("application/json", content).build();
        operation.responses.responses.entry(status.into()).or_insert(RefOr::T(response));
    };
    add("400", "a request that broke off, or whose path is no UTF-8");
    add("401", "no token, or an unknown one");
    add("403", "a token of a role that is too low; or, where there are no tokens, not a request of this machine");
    if operation.request_body.is_some() {
        add("413", "more bytes than the request may have");
    }
}

/// The document.
pub fn document() -> OpenApi {
    Document::openapi()
}

/// It, over HTTP.
#[utoipa::path(get, path = "/openapi.json", tag = "project", summary = "This document", responses((status = 200)))]
pub(super) async fn openapi() -> Response {
    Json(document()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_in_the_document() {
        let document = serde_json::to_value(document()).unwrap();
        let mut paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
        let mut routes: Vec<&str> = super::super::ROUTES.to_vec();
        paths.sort();
        routes.sort_unstable();
        assert_eq!(paths, routes);
        let upload = &document["paths"]["/v1/udfs/{name}/versions"]["post"]["responses"];
        for status in ["200", "201", "400", "401", "403", "404", "408", "409", "413", "422", "503"] {
            assert!(upload.get(status).is_some(), "{status}: {upload}");
        }
        assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    }
}
