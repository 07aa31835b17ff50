//! Who is subscribed to what, in memory: found by project first, then by event type.

use std::collections::HashMap;
use std::sync::Arc;

use picasso_types::AppId;
use picasso_types::trigger::notification::{NotificationOptions, Scope};
use picasso_types::trigger::{Trigger, TriggerKind, TriggerState};

use super::patterns::Patterns;

/// An active subscription.
#[derive(Debug, Clone)]
pub(super) struct Subscription {
    pub(super) trigger: Arc<Trigger>,
    options: Arc<NotificationOptions>,
}

/// Where a notification came from, and what it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard<'a> {
    pub(super) exchange: &'a str,
    pub(super) topic: &'a str,
    pub(super) event_type: &'a str,
    pub(super) project: Option<&'a str>,
}

/// All active subscriptions.
#[derive(Debug, Default)]
pub(super) struct Book {
    subscriptions: HashMap<u32, Subscription>,
    of_apps: HashMap<AppId, Vec<u32>>,
    of_projects: HashMap<Box<str>, Patterns>,
    of_all: Patterns,
    last: u32,
}

impl Book {
    /// A book of these triggers; those that are not active, and of other kinds, are left out.
    pub(super) fn of(triggers: Vec<Trigger>) -> Self {
        let mut book = Self::default();
        for trigger in triggers {
            book.insert(trigger);
        }
        book
    }

    /// How many subscriptions there are.
    pub(super) fn len(&self) -> usize {
        self.subscriptions.len()
    }

    /// Takes these triggers in the place of those that the app had.
    pub(super) fn replace(&mut self, app: &AppId, triggers: Vec<Trigger>) {
        for number in self.of_apps.remove(app).unwrap_or_default() {
            self.remove(number);
        }
        for trigger in triggers {
            self.insert(trigger);
        }
    }

    /// The subscriptions to a notification, each once, in the order in which they were taken in.
    pub(super) fn subscribed(&self, heard: Heard<'_>) -> Vec<Subscription> {
        let mut numbers = Vec::new();
        if let Some(patterns) = heard.project.and_then(|project| self.of_projects.get(project)) {
            patterns.matching(heard.event_type, &mut numbers);
        }
        self.of_all.matching(heard.event_type, &mut numbers);
        numbers.sort_unstable();
        numbers.dedup();
        let found = numbers.iter().filter_map(|number| self.subscriptions.get(number));
        found.filter(|subscription| subscription.listens_at(heard)).cloned().collect()
    }

    fn insert(&mut self, trigger: Trigger) {
        let TriggerKind::Notification(options) = &trigger.spec.kind else { return };
        if trigger.state != TriggerState::Active {
            return;
        }
        let options = Arc::new(options.clone());
        // Four thousand million changes later numbers come again, and may be taken.
        self.last = self.last.wrapping_add(1);
        while self.subscriptions.contains_key(&self.last) {
            self.last = self.last.wrapping_add(1);
        }
        let number = self.last;
        let patterns = match options.scope {
            Scope::Project => self.of_projects.entry(trigger.project_id.as_str().into()).or_default(),
            Scope::All => &mut self.of_all,
        };
        for pattern in &options.event_types {
            patterns.insert(pattern, number);
        }
        self.of_apps.entry(trigger.spec.app_id.clone()).or_default().push(number);
        self.subscriptions.insert(number, Subscription { trigger: Arc::new(trigger), options });
    }

    fn remove(&mut self, number: u32) {
        let Some(Subscription { trigger, options }) = self.subscriptions.remove(&number) else { return };
        let project = trigger.project_id.as_str();
        let patterns = match options.scope {
            Scope::Project => self.of_projects.get_mut(project),
            Scope::All => Some(&mut self.of_all),
        };
        let Some(patterns) = patterns else { return };
        for pattern in &options.event_types {
            patterns.remove(pattern, number);
        }
        if options.scope == Scope::Project && patterns.is_empty() {
            self.of_projects.remove(project);
        }
    }
}

impl Subscription {
    fn listens_at(&self, heard: Heard<'_>) -> bool {
        let fits = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        fits(&self.options.exchange, heard.exchange) && fits(&self.options.topic, heard.topic)
    }
}

#[cfg(test)]
mod tests {
    use picasso_types::trigger::TriggerType;
    use serde_json::{Value, json};

    use super::super::tests::trigger;
    use super::*;

    fn names(book: &Book, project: Option<&str>, event_type: &str) -> Vec<String> {
        let heard = Heard { exchange: "nova", topic: "notifications", event_type, project };
        book.subscribed(heard).iter().map(|one| one.trigger.spec.name.to_string()).collect()
    }

    fn subscribe(name: &str, project: &str, app: &str, options: Value) -> Trigger {
        trigger(name, project, app, TriggerKind::parse(TriggerType::Notification, options).unwrap())
    }

    #[test]
    fn a_project_hears_of_its_own_events_only() {
        let all = json!({"event_types": ["*"]});
        let admin = json!({"event_types": ["compute.*", "identity.*"], "scope": "all"});
        let book = Book::of(vec![
            subscribe("a", "p1", "app1", all.clone()),
            subscribe("b", "p2", "app2", all),
            subscribe("c", "p3", "app3", admin),
        ]);
        assert_eq!(names(&book, Some("p1"), "compute.x"), ["a", "c"]);
        assert_eq!(names(&book, Some("p2"), "volume.x"), ["b"]);
        assert_eq!(names(&book, Some("p4"), "compute.x"), ["c"]);
        assert_eq!(names(&book, None, "identity.x"), ["c"]);
        assert_eq!(names(&book, None, "image.x"), Vec::<String>::new());
    }

    #[test]
    fn exchange_and_topic_may_be_wanted() {
        let of = |options: Value| subscribe("a", "p", "app", options);
        for (options, hears) in [
            (json!({"event_types": ["x"], "exchange": "nova"}), true),
            (json!({"event_types": ["x"], "exchange": "cinder"}), false),
            (json!({"event_types": ["x"], "topic": "notifications"}), true),
            (json!({"event_types": ["x"], "exchange": "nova", "topic": "other"}), false),
        ] {
            assert_eq!(
                !names(&Book::of(vec![of(options.clone())]), Some("p"), "x").is_empty(),
                hears,
                "{options}"
            );
        }
    }

    #[test]
    fn what_an_app_has_now_takes_the_place_of_what_it_had() {
        let of = |name: &str, app: &str| subscribe(name, "p", app, json!({"event_types": ["x", "x*", "?"]}));
        let mut book = Book::of(vec![of("a", "app1"), of("b", "app1"), of("c", "app2")]);
        assert_eq!((book.len(), names(&book, Some("p"), "x").len()), (3, 3));
        let mut paused = of("b", "app1");
        paused.state = TriggerState::Paused;
        let app = paused.spec.app_id.clone();
        book.replace(&app, vec![paused, of("d", "app1")]);
        assert_eq!(names(&book, Some("p"), "x"), ["c", "d"]);
        book.replace(&app, Vec::new());
        assert_eq!(names(&book, Some("p"), "x"), ["c"]);
        let other = of("c", "app2").spec.app_id;
        book.replace(&other, Vec::new());
        assert!(book.of_projects.is_empty() && book.of_apps.is_empty() && book.len() == 0);
    }

    #[test]
    fn other_kinds_of_triggers_are_left_out() {
        let queue = TriggerKind::parse(TriggerType::Queue, json!({"queue": "q"})).unwrap();
        assert_eq!(Book::of(vec![trigger("a", "p", "app", queue)]).len(), 0);
    }
}
