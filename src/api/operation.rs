//! Operations as commands.

use keyrack_core::catalogue::{About, Operation, Visitor, request_schema};

use super::flag::{self, Flag, kebab};

/// One operation as a command.
pub(super) struct OperationCommand {
    pub(super) about: &'static About,
    /// `root-keys`
    pub(super) namespace: String,
    /// `create-key`
    pub(super) action: String,
    pub(super) flags: Vec<Flag>,
}

struct Commands(Vec<OperationCommand>);

impl Visitor for Commands {
    fn operation<O: Operation>(&mut self) {
        let about = const { &O::ABOUT };
        self.0.push(OperationCommand {
            about,
            namespace: kebab(about.namespace()),
            action: kebab(about.action()),
            flags: flag::flags(request_schema::<O>().as_value(), about.request_secrets),
        });
    }
}

/// Every operation as a command.
pub(super) fn commands() -> Vec<OperationCommand> {
    let mut commands = Commands(Vec::new());
    keyrack_core::each(&mut commands);
    commands.0
}
