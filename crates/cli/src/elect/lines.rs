//! A line for each change of role.

use holocron::election::{Over, Role};
use serde_json::{Value, json};

use super::Arguments;

/// Prints roles. If there is a command, standard output is the command's, and the lines go to standard error.
pub(super) struct Lines {
    election: String,
    member: String,
    form: Form,
    to: To,
}

#[derive(Clone, Copy)]
enum Form {
    Text,
    Json,
}

#[derive(Clone, Copy)]
enum To {
    Output,
    Error,
}

impl Lines {
    pub(super) fn new(arguments: &Arguments, member: &str) -> Self {
        Self {
            election: arguments.name.clone(),
            member: member.to_owned(),
            form: if arguments.json { Form::Json } else { Form::Text },
            to: if arguments.command.is_empty() { To::Output } else { To::Error },
        }
    }

    pub(super) fn role(&self, role: &Role) {
        match self.form {
            Form::Text => self.print(&format!("{} {}", self.member, as_text(role))),
            Form::Json => {
                let mut line = as_json(role);
                line["election"] = Value::from(self.election.as_str());
                line["member"] = Value::from(self.member.as_str());
                self.print(&line.to_string());
            }
        }
    }

    pub(super) fn over(&self, over: &Over) {
        self.role(&Role::Over(over.clone()));
    }

    fn print(&self, line: &str) {
        match self.to {
            To::Output => println!("{line}"),
            To::Error => eprintln!("{line}"),
        }
    }
}

fn as_text(role: &Role) -> String {
    match role {
        Role::NoLeader => "knows no leader".to_owned(),
        Role::Following { leader, token } => match &leader.address {
            Some(address) => format!("follows {} at {address}, token {}", leader.name, token.get()),
            None => format!("follows {}, token {}", leader.name, token.get()),
        },
        Role::Leading { token, since } if token == since => format!("leads, token {}", token.get()),
        Role::Leading { token, since } => {
            format!("leads, token {}, since token {}", token.get(), since.get())
        }
        Role::Unconfirmed { token } => {
            format!(
                "can't confirm that it leads, token {}: the store did not answer for a lease",
                token.get()
            )
        }
        Role::Resigning => "resigns".to_owned(),
        Role::Over(over) => format!("ended: {over}"),
    }
}

fn as_json(role: &Role) -> Value {
    match role {
        Role::NoLeader => json!({ "role": "no-leader" }),
        Role::Following { leader, token } => json!({
            "role": "following",
            "leader": leader.name.as_str(),
            "address": leader.address,
            "token": token.get(),
        }),
        Role::Leading { token, since } => {
            json!({ "role": "leading", "token": token.get(), "since": since.get() })
        }
        Role::Unconfirmed { token } => json!({ "role": "unconfirmed", "token": token.get() }),
        Role::Resigning => json!({ "role": "resigning" }),
        Role::Over(over) => json!({ "role": "ended", "why": over.to_string() }),
    }
}
