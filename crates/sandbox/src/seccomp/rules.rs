//! What can be said of one system call, and the calls that are allowed for some arguments only.
//!
//! Arguments are compared by their low 32 bits, which is all the kernel itself looks at for every
//! argument named here; a comparison of 64 bits could be passed by with a bit set above them
//! (CVE-2019-7303).

/// What happens to a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Verdict {
    /// It reaches the kernel.
    Allow,
    /// `EPERM`.
    Refuse,
    /// `ENOSYS`.
    Absent,
    /// Its arguments decide.
    When(&'static Rule),
}

/// The first case whose tests all hold decides; none holding, `otherwise` does.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) cases: &'static [Case],
    pub(crate) otherwise: Answer,
}

/// Tests that must all hold, and what happens then.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) tests: &'static [Test],
    pub(crate) answer: Answer,
}

/// The end of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The call reaches the kernel.
    Allow,
    /// The call fails with this error number.
    Errno(i32),
}

/// One argument's low 32 bits, under a mask, are one of these values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Test {
    pub(crate) argument: u8,
    pub(crate) mask: u32,
    pub(crate) values: &'static [u32],
}

const ALL: u32 = u32::MAX;
const ALLOW: Answer = Answer::Allow;
const EPERM: Answer = Answer::Errno(libc::EPERM);

const fn test(argument: u8, mask: u32, values: &'static [u32]) -> Test {
    Test { argument, mask, values }
}

const fn case(tests: &'static [Test], answer: Answer) -> Case {
    Case { tests, answer }
}

/// Every `CLONE_NEW*` flag `clone` knows (`CLONE_NEWTIME` shares its bits with the exit signal and
/// works with `clone3` and `unshare` only).
const NEW_NAMESPACES: u32 = 0x7e02_0000;

/// Threads and processes, but no namespaces.
pub(crate) static CLONE: Rule =
    Rule { cases: &[case(&[test(0, NEW_NAMESPACES, &[0])], ALLOW)], otherwise: EPERM };

/// Everything but pushing input into a terminal (`TIOCSTI`), the console's selection
/// (`TIOCLINUX`) and taking the console's output (`TIOCCONS`).
pub(crate) static IOCTL: Rule =
    Rule { cases: &[case(&[test(1, ALL, &[0x5412, 0x541c, 0x541d])], EPERM)], otherwise: ALLOW };

/// Linux as it is, with 32-bit `uname` or without address randomisation, and asking.
pub(crate) static PERSONALITY: Rule =
    Rule { cases: &[case(&[test(0, ALL, &[0, 0x8, 0x2_0000, 0x2_0008, ALL])], ALLOW)], otherwise: EPERM };

/// Everything but `PR_SET_PDEATHSIG`: a process that changes it could outlive its sandbox's end.
pub(crate) static PRCTL: Rule = Rule { cases: &[case(&[test(0, ALL, &[1])], EPERM)], otherwise: ALLOW };

const UNIX: u32 = libc::AF_UNIX as u32;
const INET: u32 = libc::AF_INET as u32;
const INET6: u32 = libc::AF_INET6 as u32;
const NETLINK: u32 = libc::AF_NETLINK as u32;
const STREAM: u32 = libc::SOCK_STREAM as u32;
const DGRAM: u32 = libc::SOCK_DGRAM as u32;
const TCP: u32 = libc::IPPROTO_TCP as u32;
const UDP: u32 = libc::IPPROTO_UDP as u32;
/// The type without `SOCK_NONBLOCK` and `SOCK_CLOEXEC`.
const KIND: u32 = 0xf;

/// Unix sockets, TCP and UDP, and netlink's routing family (which C libraries list interfaces
/// with). Other protocols are also kept from loading kernel modules by their mere mention.
pub(crate) static SOCKET: Rule = Rule {
    cases: &[
        case(&[test(0, ALL, &[UNIX])], ALLOW),
        case(&[test(0, ALL, &[INET, INET6]), test(1, KIND, &[STREAM]), test(2, ALL, &[0, TCP])], ALLOW),
        case(&[test(0, ALL, &[INET, INET6]), test(1, KIND, &[DGRAM]), test(2, ALL, &[0, UDP])], ALLOW),
        case(&[test(0, ALL, &[NETLINK]), test(2, ALL, &[libc::NETLINK_ROUTE as u32])], ALLOW),
        case(&[test(0, ALL, &[INET, INET6])], Answer::Errno(libc::EPROTONOSUPPORT)),
    ],
    otherwise: Answer::Errno(libc::EAFNOSUPPORT),
};

/// Unix pairs.
pub(crate) static SOCKETPAIR: Rule =
    Rule { cases: &[case(&[test(0, ALL, &[UNIX])], ALLOW)], otherwise: Answer::Errno(libc::EAFNOSUPPORT) };
