//! The programs to compare. All of them accept the flags of leader-elector, and answer `{"name":"…"}` on `/`.

use super::polling;
use std::path::PathBuf;
use std::process::Command;

#[derive(Clone, Debug)]
pub struct Program {
    pub name: String,
    argv: Vec<String>,
}

impl Program {
    /// leader-elector: the binary that `LEADER_ELECTOR` names, otherwise the one that cargo has built.
    pub fn leader_elector() -> Program {
        let built = || env!("CARGO_BIN_EXE_leader-elector").to_owned();
        let path = std::env::var("LEADER_ELECTOR").unwrap_or_else(|_| built());
        Program { name: "leader-elector".to_owned(), argv: vec![path] }
    }

    /// The polling elector, which is part of the benchmark.
    pub fn polling() -> Program {
        let this = std::env::current_exe().expect("the path of this program is known");
        Program { name: "polling".to_owned(), argv: vec![this.display().to_string(), polling::SUBCOMMAND.to_owned()] }
    }

    /// leader-elector, the polling elector, and those in the variable `RIVALS=NAME=COMMAND,…`, in this order.
    pub fn all() -> Vec<Program> {
        let others = std::env::var("RIVALS").unwrap_or_default();
        let others = others.split(',').filter(|entry| !entry.is_empty()).map(|entry| {
            let (name, command) =
                entry.split_once('=').unwrap_or_else(|| panic!("RIVALS: {entry:?} is not NAME=COMMAND"));
            Program { name: name.to_owned(), argv: command.split_whitespace().map(str::to_owned).collect() }
        });
        [Program::leader_elector(), Program::polling()].into_iter().chain(others).collect()
    }

    pub fn is_leader_elector(&self) -> bool {
        self.name == "leader-elector"
    }

    /// The executable file.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(&self.argv[0])
    }

    /// The command with an environment that does not influence a candidate.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]).env_clear().env("HOME", "/nonexistent");
        command
    }
}
