//! The programs that are compared. All of them take the flags of leader-elector, and answer `{"name":"…"}` on `/`.

use super::polling;
use std::path::PathBuf;
use std::process::Command;

#[derive(Clone, Debug)]
pub struct Program {
    pub name: String,
    argv: Vec<String>,
}

impl Program {
    /// The program of this repository, or another build of it that `LEADER_ELECTOR` names.
    pub fn ours() -> Program {
        let built = || env!("CARGO_BIN_EXE_leader-elector").to_owned();
        let path = std::env::var("LEADER_ELECTOR").unwrap_or_else(|_| built());
        Program { name: "leader-elector".to_owned(), argv: vec![path] }
    }

    /// The polling elector of this benchmark.
    pub fn polling() -> Program {
        let this = std::env::current_exe().expect("it runs");
        Program { name: "polling".to_owned(), argv: vec![this.display().to_string(), polling::PART.to_owned()] }
    }

    /// Ours first, then the polling one, then those that `RIVALS=name=command,…` names.
    pub fn all() -> Vec<Program> {
        let rivals = std::env::var("RIVALS").unwrap_or_default();
        let rivals = rivals.split(',').filter(|rival| !rival.is_empty()).map(|rival| {
            let (name, command) =
                rival.split_once('=').unwrap_or_else(|| panic!("RIVALS: {rival:?} is not name=command"));
            Program { name: name.to_owned(), argv: command.split_whitespace().map(str::to_owned).collect() }
        });
        [Program::ours(), Program::polling()].into_iter().chain(rivals).collect()
    }

    pub fn is_ours(&self) -> bool {
        self.name == "leader-elector"
    }

    /// The file that is executed.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(&self.argv[0])
    }

    /// It with nothing in its environment that a candidate looks at.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]).env_clear().env("HOME", "/nonexistent");
        command
    }
}
