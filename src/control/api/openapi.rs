//! The API's description (OpenAPI 3.1), made of the routes and of the very types that are served.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::route::Route;
use super::types::Failure;

/// The document that describes these.
pub fn document(routes: &[Route]) -> Value {
    // JSON Schema 2020-12 is what OpenAPI 3.1 takes; only the place of definitions is another.
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let mut paths = Map::new();
    for route in routes {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method] = operation(route, &mut schemas);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sinkscope control API",
            "description": "How the orders stand, who changed that, and how the server is.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    })
}

/// One path's one method.
fn operation(route: &Route, schemas: &mut SchemaGenerator) -> Value {
    let (status, gives) = route.gives;
    let mut responses = Map::new();
    let good = match gives {
        Some(refer) => json!({"description": "Done", "content": content(refer(schemas).into())}),
        None => json!({"description": "Done"}),
    };
    responses.insert(status.to_string(), good);
    for status in [401, 403, 408].iter().chain(route.fails) {
        let failure = schemas.subschema_for::<Failure>();
        responses.insert(
            status.to_string(),
            json!({"description": reason(*status), "content": content(failure.into())}),
        );
    }
    let id = route.path.contains("{id}").then(|| {
        json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"}, "description": "The order's id"})
    });
    let query = route.query.iter().map(|(name, kind, text)| {
        json!({"name": name, "in": "query", "schema": {"type": kind}, "description": text})
    });
    let parameters: Vec<Value> = id.into_iter().chain(query).collect();
    let mut operation = json!({"summary": route.summary, "responses": responses});
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(refer) = route.takes {
        operation["requestBody"] = json!({"content": content(refer(schemas).into())});
    }
    operation
}

/// A JSON body.
fn content(schema: Value) -> Value {
    json!({"application/json": {"schema": schema}})
}

/// What a status means here.
fn reason(status: u16) -> &'static str {
    match status {
        400 => "The address does not fit",
        401 => "No token, or one that is not known",
        403 => "It came from a page of another site, or names another server",
        404 => "There is none of that name",
        408 => "It took too long",
        409 => "Too much is stated already",
        413 => "The body is too long",
        415 => "The body is not said to be JSON",
        422 => "The body does not fit",
        501 => "This server has nothing of the kind",
        503 => "Something does not go as it should: the error says what",
        _ => "It could not be put on record, so nothing was changed",
    }
}
