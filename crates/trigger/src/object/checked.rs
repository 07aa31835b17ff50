//! Events whose fields are good, with the function that the client of Swift named, read once.

use picasso_types::{FieldFault, ProjectId};

use super::client_function::ClientFunction;
use super::event::ObjectEvent;

/// A change of an object that can be taken.
#[derive(Debug)]
pub struct CheckedEvent {
    pub(super) project: ProjectId,
    pub(super) change: ObjectEvent,
    pub(super) function: Option<ClientFunction>,
}

impl CheckedEvent {
    /// The change.
    pub fn change(&self) -> &ObjectEvent {
        &self.change
    }

    /// The project of the function that the client named, where not everybody may call it: the client's
    /// own. Who hands events on has to ask whether the client may, and leave the function out otherwise.
    pub fn private_function_of(&self) -> Option<&ProjectId> {
        match self.function.as_ref()? {
            ClientFunction::Private { project, .. } => Some(project),
            ClientFunction::Public { .. } => None,
        }
    }

    /// The event makes no call of the function that the client named.
    pub fn leave_function_out(&mut self) {
        self.function = None;
    }
}

/// The events of a request; the fault names the one that is refused.
pub fn checked(events: Vec<ObjectEvent>) -> Result<Vec<CheckedEvent>, FieldFault> {
    let check = |(at, change): (usize, ObjectEvent)| {
        let fault =
            |fault: FieldFault| FieldFault::new(format!("events[{at}].{}", fault.field), fault.message);
        let project = change.check().map_err(fault)?;
        let url = change.function_url.as_deref();
        let function = url.and_then(|url| ClientFunction::read(url, change.user_project_id.as_deref()));
        Ok(CheckedEvent { project, change, function })
    };
    events.into_iter().enumerate().map(check).collect()
}
