//! Operations as commands.

use keyrack_core::catalogue::{About, Operation, Visitor, request_schema};
use keyrack_core::schema::{AnsweredSecrets, answered_secrets};

use super::flag::{self, Flag, kebab};

/// One operation as a command.
pub(super) struct OperationCommand {
    pub(super) about: &'static About,
    /// `root-keys`
    pub(super) namespace: String,
    /// `create-key`
    pub(super) action: String,
    /// What is secret in its answer.
    pub(super) secrets: AnsweredSecrets,
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
            secrets: answered_secrets::<O::Response>(),
            flags: flag::flags(request_schema::<O>()),
        });
    }
}

/// Every operation as a command.
pub(super) fn commands() -> Vec<OperationCommand> {
    let mut commands = Commands(Vec::new());
    keyrack_core::each(&mut commands);
    commands.0
}
