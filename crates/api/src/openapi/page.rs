//! The OpenAPI document as one readable page: no scripts, nothing loaded from elsewhere.

use std::fmt::Write as _;

use serde_json::Value;

use super::{enforced_rule, operations};

const STYLE: &str = include_str!("page.css");

/// The page of `document`.
pub(crate) fn render(document: &Value) -> String {
    let mut html = String::new();
    let _ = write!(
        html,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Picasso API</title><style>{STYLE}</style><main>\
         <h1>{} API {}</h1><p>{}</p>\
         <p>The same for programs: <a href=\"/api/swagger.json\">OpenAPI document</a>.</p>",
        text(&document["info"]["title"]),
        text(&document["info"]["version"]),
        text(&document["info"]["description"]),
    );
    for tag in tags(document) {
        let _ = write!(html, "<h2>{}</h2>", escaped(&tag));
        for (path, method, operation) in operations(document) {
            if operation["tags"][0].as_str() == Some(&tag) {
                operation_section(&mut html, path, method, operation);
            }
        }
    }
    schemas_section(&mut html, document);
    html.push_str("</main></html>");
    html
}

fn tags(document: &Value) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for (_, _, operation) in operations(document) {
        if let Some(tag) = operation["tags"][0].as_str()
            && !tags.iter().any(|known| known == tag)
        {
            tags.push(tag.to_owned());
        }
    }
    tags
}

fn operation_section(html: &mut String, path: &str, method: &str, operation: &Value) {
    let needs = match enforced_rule(operation) {
        Some(rule) => format!("X-Auth-Token that the policy rule {rule} allows"),
        None => "no token".to_owned(),
    };
    let _ = write!(
        html,
        "<details><summary><b class=\"{0}\">{0}</b> <code>{1}</code> {2}</summary><p>Needs {3}.</p>",
        method,
        escaped(path),
        text(&operation["summary"]),
        escaped(&needs),
    );
    if let Some(parameters) = operation["parameters"].as_array() {
        html.push_str("<table><tr><th>In the path<th>What it is");
        for parameter in parameters {
            let _ = write!(
                html,
                "<tr><td><code>{}</code><td>{}",
                text(&parameter["name"]),
                text(&parameter["description"])
            );
        }
        html.push_str("</table>");
    }
    if let Some(content) = operation["requestBody"]["content"].as_object() {
        for (kind, body) in content {
            let described = text(&operation["requestBody"]["description"]);
            let _ = write!(
                html,
                "<p>Body: <code>{}</code> {} {}</p>",
                escaped(kind),
                schema(&body["schema"]),
                described
            );
        }
    }
    html.push_str("<table><tr><th>Answer<th>When<th>Body");
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let mut body = String::new();
        for (kind, content) in response["content"].as_object().into_iter().flatten() {
            let _ = write!(body, "<code>{}</code> {}", escaped(kind), schema(&content["schema"]));
        }
        let _ = write!(html, "<tr><td>{}<td>{}<td>{}", escaped(status), text(&response["description"]), body);
    }
    html.push_str("</table></details>");
}

fn schemas_section(html: &mut String, document: &Value) {
    html.push_str("<h2>Bodies</h2>");
    for (name, body) in document["components"]["schemas"].as_object().into_iter().flatten() {
        let _ = write!(
            html,
            "<details id=\"{0}\"><summary><code>{0}</code> {1}</summary>",
            escaped(name),
            text(&body["description"])
        );
        let variants = body["oneOf"].as_array().into_iter().flatten().map(schema).collect::<Vec<_>>();
        if !variants.is_empty() {
            let _ = write!(html, "<p>One of: {}</p>", variants.join(", "));
        }
        let required: Vec<&str> =
            body["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        html.push_str("<table><tr><th>Field<th>Type<th>What it is");
        for (field, about) in body["properties"].as_object().into_iter().flatten() {
            let always = if required.contains(&field.as_str()) { "" } else { " (may be absent)" };
            let _ = write!(
                html,
                "<tr><td><code>{}</code>{always}<td>{}<td>{}",
                escaped(field),
                schema(about),
                text(&about["description"])
            );
        }
        html.push_str("</table></details>");
    }
}

/// A schema in a few words, with links to named ones.
fn schema(schema: &Value) -> String {
    if let Some(target) = schema["$ref"].as_str() {
        let name = escaped(target.rsplit('/').next().unwrap_or_default());
        return format!("<a href=\"#{name}\"><code>{name}</code></a>");
    }
    if let Some(variants) = schema["oneOf"].as_array() {
        return variants.iter().map(self::schema).collect::<Vec<_>>().join(" or ");
    }
    match &schema["type"] {
        Value::String(kind) if kind == "array" => format!("list of {}", self::schema(&schema["items"])),
        Value::String(kind) if kind == "object" && schema["additionalProperties"].is_object() => {
            format!("object with values of {}", self::schema(&schema["additionalProperties"]))
        }
        Value::String(kind) => escaped(kind),
        Value::Array(kinds) => {
            kinds.iter().filter_map(Value::as_str).map(escaped).collect::<Vec<_>>().join(" or ")
        }
        _ => String::new(),
    }
}

fn text(value: &Value) -> String {
    escaped(value.as_str().unwrap_or_default())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openapi::tests::DOCUMENT;

    #[test]
    fn the_page_names_every_url_and_loads_nothing() {
        let page = render(&DOCUMENT);
        for (path, ..) in operations(&DOCUMENT) {
            assert!(page.contains(&escaped(path)), "{path}");
        }
        for outside in ["<script", "src=", "@import", "url(", "href=\"http"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
