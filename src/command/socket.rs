//! The messages between the elector and the wardens: one message per packet, on a pair of Unix sockets that no other
//! process has. A packet may pass an open file.

use crate::time::Time;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// A kind and two numbers.
const MESSAGE_SIZE: usize = 17;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// To a warden, first, with a file: the other warden's socket, or the standard input of the command.
    Begin { until: Time, stop_timeout: Duration },
    /// To a warden: the term has been renewed.
    Leading { until: Time },
    /// To a warden: end the command.
    End { until: Time, graceful: bool },
    /// To the inner warden: forward this signal.
    Signal(i32),
    /// To the process that becomes the command, with its standard input: the pid of its parent.
    Parent(i32),
    /// From the inner warden: the command is running. From the outer warden: the inner one is.
    Started { pid: i32 },
    /// From the process that could not become the command, and from the wardens: the system's error.
    CannotStart { errno: i32 },
    /// From the inner warden: the command has ended with this wait status, and everything that it started has ended.
    /// `asked`: it had got SIGTERM or SIGKILL from the warden.
    Ended { status: i32, asked: bool },
}

pub(super) enum Heard {
    Message(Message, Option<OwnedFd>),
    /// There is no message now.
    Nothing,
    /// The other end is closed: its process is dead.
    End,
}

/// One end.
#[derive(Debug)]
pub(super) struct WardenSocket(OwnedFd);

impl WardenSocket {
    /// A pair: this end, and the other one for a child. Programs that this process starts inherit neither.
    pub(super) fn pair() -> io::Result<(WardenSocket, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((WardenSocket(ours), theirs))
    }

    /// Both ends.
    #[cfg(test)]
    pub(super) fn both() -> (WardenSocket, WardenSocket) {
        let (ours, theirs) = WardenSocket::pair().unwrap();
        (ours, WardenSocket(theirs))
    }

    /// The end that this process got as its standard input. Its children do not inherit it if they get another standard
    /// input.
    pub(super) fn of_stdin() -> io::Result<WardenSocket> {
        Ok(WardenSocket(io::stdin().as_fd().try_clone_to_owned()?))
    }

    /// Sends without blocking; fails with `WouldBlock` if the buffer is full.
    pub(super) fn send(&self, message: Message, file: Option<BorrowedFd>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = file.as_slice();
        if !files.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(files));
        }
        let packet = message.encode();
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        rustix::io::retry_on_intr(|| sendmsg(&self.0, &[IoSlice::new(&packet)], &mut control, flags))?;
        Ok(())
    }

    /// Receives a message without blocking.
    pub(super) fn hear(&self) -> io::Result<Heard> {
        self.receive(RecvFlags::DONTWAIT)
    }

    /// Waits for a message.
    pub(super) fn wait(&self) -> io::Result<(Message, Option<OwnedFd>)> {
        match self.receive(RecvFlags::empty())? {
            Heard::Message(message, file) => Ok((message, file)),
            Heard::Nothing | Heard::End => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn receive(&self, flags: RecvFlags) -> io::Result<Heard> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut packet = [0; MESSAGE_SIZE];
        let flags = flags | RecvFlags::CMSG_CLOEXEC;
        let received =
            rustix::io::retry_on_intr(|| recvmsg(&self.0, &mut [IoSliceMut::new(&mut packet)], &mut control, flags));
        let length = match received {
            Ok(received) => received.bytes,
            Err(Errno::AGAIN) => return Ok(Heard::Nothing),
            // The other end was closed with unread messages. The system says so once, before the messages that are still
            // to be received here.
            Err(Errno::CONNRESET) => return self.receive(flags),
            Err(error) => return Err(error.into()),
        };
        if length == 0 {
            return Ok(Heard::End);
        }
        let mut files = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        });
        let file = files.next().and_then(|mut files| files.next());
        let message = Message::decode(&packet).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Heard::Message(message, file))
    }
}

impl AsFd for WardenSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Message {
    pub(super) fn cannot_start(error: &io::Error) -> Message {
        // An error of the standard library has no number: the program's name or an argument contains a NUL.
        Message::CannotStart { errno: error.raw_os_error().unwrap_or(Errno::INVAL.raw_os_error()) }
    }

    fn encode(self) -> [u8; MESSAGE_SIZE] {
        let number = |number: i32| u64::from(number.cast_unsigned());
        let (kind, first, second) = match self {
            Message::Begin { until, stop_timeout } => (0, nanos(until.uptime()), nanos(stop_timeout)),
            Message::Leading { until } => (1, nanos(until.uptime()), 0),
            Message::End { until, graceful } => (2, nanos(until.uptime()), u64::from(graceful)),
            Message::Signal(signal) => (3, number(signal), 0),
            Message::Parent(pid) => (4, number(pid), 0),
            Message::Started { pid } => (5, number(pid), 0),
            Message::CannotStart { errno } => (6, number(errno), 0),
            Message::Ended { status, asked } => (7, number(status), u64::from(asked)),
        };
        let mut packet = [kind; MESSAGE_SIZE];
        packet[1..9].copy_from_slice(&first.to_ne_bytes());
        packet[9..].copy_from_slice(&second.to_ne_bytes());
        packet
    }

    fn decode(packet: &[u8; MESSAGE_SIZE]) -> Option<Message> {
        let first = u64::from_ne_bytes(packet[1..9].try_into().ok()?);
        let second = u64::from_ne_bytes(packet[9..].try_into().ok()?);
        let number = u32::try_from(first).map(u32::cast_signed);
        Some(match packet[0] {
            0 => Message::Begin {
                until: Time::after_boot(Duration::from_nanos(first)),
                stop_timeout: Duration::from_nanos(second),
            },
            1 => Message::Leading { until: Time::after_boot(Duration::from_nanos(first)) },
            2 => Message::End { until: Time::after_boot(Duration::from_nanos(first)), graceful: second != 0 },
            3 => Message::Signal(number.ok()?),
            4 => Message::Parent(number.ok()?),
            5 => Message::Started { pid: number.ok()? },
            6 => Message::CannotStart { errno: number.ok()? },
            7 => Message::Ended { status: number.ok()?, asked: second != 0 },
            _ => return None,
        })
    }
}

/// A `u64` has room for five centuries.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_arrives_as_it_was_sent() {
        let (here, there) = WardenSocket::both();
        let until = Time::after_boot(Duration::from_nanos(1_234_567_890_123_456_789));
        for message in [
            Message::Begin { until, stop_timeout: Duration::from_millis(1500) },
            Message::Leading { until },
            Message::End { until, graceful: true },
            Message::End { until: Time::ZERO, graceful: false },
            Message::Signal(10),
            Message::Parent(1),
            Message::Started { pid: i32::MAX },
            Message::CannotStart { errno: 2 },
            Message::Ended { status: 0x8b, asked: false },
            Message::Ended { status: 0, asked: true },
        ] {
            here.send(message, None).unwrap();
            let Heard::Message(heard, None) = there.hear().unwrap() else { panic!("{message:?} did not come") };
            assert_eq!(heard, message);
        }
        assert!(matches!(there.hear().unwrap(), Heard::Nothing));
    }

    #[test]
    fn a_file_comes_with_a_message_and_the_end_shows() {
        let (here, there) = WardenSocket::pair().unwrap();
        let (pipe, mut writer) = io::pipe().unwrap();
        here.send(Message::Parent(1), Some(pipe.as_fd())).unwrap();
        drop(pipe);
        let (_, file) = WardenSocket(there.try_clone().unwrap()).wait().unwrap();
        io::Write::write_all(&mut writer, b"x").unwrap();
        assert_eq!(rustix::io::read(file.unwrap(), &mut [0; 8]).unwrap(), 1);
        drop(here);
        // Another test may be starting a process, which has a copy of that end for a moment.
        assert_eq!(WardenSocket(there).wait().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn the_last_message_of_a_dead_process_comes_although_it_left_messages_unread() {
        let (here, there) = WardenSocket::both();
        here.send(Message::Signal(1), None).unwrap();
        let last = Message::Ended { status: 0, asked: false };
        there.send(last, None).unwrap();
        drop(there);
        assert_eq!(here.wait().unwrap().0, last);
        // Another test may be starting a process, which has a copy of that end for a moment.
        assert_eq!(here.wait().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_receiver_that_does_not_read_blocks_nobody() {
        let (here, _there) = WardenSocket::pair().unwrap();
        let full = (0..100_000).find_map(|_| here.send(Message::Signal(1), None).err());
        assert_eq!(full.unwrap().kind(), io::ErrorKind::WouldBlock);
    }
}
