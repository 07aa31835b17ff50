//! What a function gets: the event's data, or a template that the event fills.

use bytes::Bytes;
use picasso_types::trigger::InputTemplate;
use picasso_types::trigger::input::{Piece, pieces};
use serde_json::{Map, Value};

use crate::event::Event;

/// The event with the body that the template makes of it; `data` are its data as JSON.
pub(crate) fn filled(template: &InputTemplate, event: &Event, data: &Value) -> Event {
    let body = fill(template.value(), event, data);
    Event {
        content_type: Some("application/json".to_owned()),
        data: Bytes::from(body.to_string()),
        ..event.clone()
    }
}

fn fill(value: &Value, event: &Event, data: &Value) -> Value {
    match value {
        Value::String(text) => fill_text(text, event, data),
        Value::Array(values) => values.iter().map(|value| fill(value, event, data)).collect(),
        Value::Object(map) => {
            let filled = map.iter().map(|(key, value)| (key.clone(), fill(value, event, data)));
            Value::Object(filled.collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

/// A text that is one place becomes what lies there; within other text it becomes text.
fn fill_text(text: &str, event: &Event, data: &Value) -> Value {
    // Checked when the trigger was saved.
    let Ok(pieces) = pieces(text) else { return Value::String(text.to_owned()) };
    if let [Piece::Place(path)] = pieces.as_slice() {
        return event.at(path, data).unwrap_or_default();
    }
    let mut filled = String::new();
    for piece in &pieces {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Place(path) => match event.at(path, data) {
                None | Some(Value::Null) => {}
                Some(Value::String(text)) => filled.push_str(&text),
                Some(other) => filled.push_str(&other.to_string()),
            },
        }
    }
    Value::String(filled)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_become_values_and_text() {
        let template = InputTemplate::parse(json!({"template": {
            "all": "${data}", "server": "${data.ids[1]}", "text": "${type} of ${data.ids[0]}${data.none}!",
            "gone": "${data.gone}", "n": 1, "list": ["${subject}"],
        }}));
        let mut event = Event::of_json("1".into(), "t".into(), "/s".into(), &json!({"ids": [7, "x"]}));
        event.subject = Some("it".to_owned());
        let filled = filled(&template.unwrap(), &event, &event.json());
        assert_eq!(
            filled.json(),
            json!({
                "all": {"ids": [7, "x"]}, "server": "x", "text": "t of 7!", "gone": null, "n": 1, "list": ["it"],
            })
        );
        assert_eq!((filled.id, filled.kind), (event.id, event.kind));
    }
}
