//! Runs the program in a small interpreter of its own and compares it with the table.

use std::collections::BTreeMap;

use super::compile::{Instruction, compile};
use super::rules::{Answer, Rule, Verdict};
use super::table;

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;

fn errno(number: i32) -> u32 {
    0x0005_0000 | u32::try_from(number).unwrap()
}

fn word(number: u32, architecture: u32, arguments: [u64; 6], offset: u32) -> u32 {
    match offset {
        0 => number,
        4 => architecture,
        16..64 => {
            let argument = arguments[(offset as usize - 16) / 8];
            u32::try_from(if offset.is_multiple_of(8) { argument & 0xffff_ffff } else { argument >> 32 })
                .unwrap()
        }
        _ => unreachable!("offset {offset}"),
    }
}

fn run(program: &[Instruction], number: u32, architecture: u32, arguments: [u64; 6]) -> u32 {
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let Instruction { code, jump_true, jump_false, k } = program[at];
        let jump = |holds| usize::from(if holds { jump_true } else { jump_false });
        at += 1;
        match code {
            0x20 => accumulator = word(number, architecture, arguments, k),
            0x54 => accumulator &= k,
            0x15 => at += jump(accumulator == k),
            0x35 => at += jump(accumulator >= k),
            0x06 => return k,
            _ => unreachable!("instruction {code:#x}"),
        }
    }
}

fn by_rule(rule: &Rule, arguments: [u64; 6]) -> u32 {
    let low = |argument: u8| u32::try_from(arguments[usize::from(argument)] & 0xffff_ffff).unwrap();
    let answer = rule
        .cases
        .iter()
        .find(|case| case.tests.iter().all(|test| test.values.contains(&(low(test.argument) & test.mask))))
        .map_or(rule.otherwise, |case| case.answer);
    match answer {
        Answer::Allow => ALLOW,
        Answer::Errno(number) => errno(number),
    }
}

#[test]
fn the_program_is_a_short_tree() {
    let bytes = super::filter().unwrap();
    assert_eq!(bytes.len() % 8, 0);
    let length = bytes.len() / 8;
    assert!((40..=200).contains(&length), "{length} instructions");
}

#[test]
fn every_number_gets_the_answer_of_its_row_and_unlisted_ones_are_absent() {
    let program = compile(table::rows()).unwrap();
    let rows: BTreeMap<u32, Verdict> =
        table::rows().map(|row| (u32::try_from(row.number).unwrap(), row.verdict)).collect();
    assert_eq!(rows.len(), table::rows().count(), "a number is listed twice");
    for number in (0..2000).chain([0x3fff_ffff]) {
        let expected = match rows.get(&number) {
            Some(Verdict::Allow) => ALLOW,
            Some(Verdict::Refuse) => errno(libc::EPERM),
            Some(Verdict::Absent) | None => errno(libc::ENOSYS),
            Some(Verdict::When(rule)) => by_rule(rule, [0; 6]),
        };
        assert_eq!(run(&program, number, X86_64, [0; 6]), expected, "number {number}");
    }
}

#[test]
fn arguments_are_judged_by_their_rule() {
    let program = compile(table::rows()).unwrap();
    let interesting: Vec<u64> = (0..48)
        .chain([0x5411, 0x5412, 0x5413, 0x541c, 0x541d, 0x541e, 0x2_0000, 0x2_0008, 262])
        .chain((0..32).map(|bit| 1 << bit))
        .chain([0xffff_ffff, 0x1_0000_5412, 0x1_0000_0001, 0x8_0801, 0x8_0802, 0x7e02_0000])
        .collect();
    for row in table::rows() {
        let Verdict::When(rule) = row.verdict else { continue };
        let number = u32::try_from(row.number).unwrap();
        for first in &interesting {
            for second in &interesting {
                for third in [0, 1, 6, 17, 58, 132, 262] {
                    let arguments = [*first, *second, third, 0, 0, 0];
                    assert_eq!(
                        run(&program, number, X86_64, arguments),
                        by_rule(rule, arguments),
                        "{} {arguments:x?}",
                        row.name
                    );
                }
            }
        }
    }
}

#[test]
fn the_dangerous_arguments_are_refused_by_name() {
    let program = compile(table::rows()).unwrap();
    let answer = |name: &str, arguments: [u64; 3]| {
        let number = table::rows().find(|row| row.name == name).unwrap().number;
        let [a, b, c] = arguments;
        run(&program, u32::try_from(number).unwrap(), X86_64, [a, b, c, 0, 0, 0])
    };
    let eperm = errno(libc::EPERM);
    for flag in [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
        assert_eq!(answer("clone", [flag | 0x11, 0, 0]), eperm, "clone {flag:x}");
    }
    assert_eq!(answer("clone", [0x003d_0f00, 0, 0]), ALLOW, "a thread of glibc");
    assert_eq!(answer("ioctl", [0, 0x1_0000_5412, 0]), eperm, "TIOCSTI with a high bit");
    assert_eq!(answer("prctl", [1, 9, 0]), eperm);
    for family in [17, 38, 40, 44] {
        assert_eq!(answer("socket", [family, 3, 0]), errno(libc::EAFNOSUPPORT), "family {family}");
    }
    assert_eq!(answer("socket", [16, 3, 9]), errno(libc::EAFNOSUPPORT), "netlink audit");
    assert_eq!(answer("socket", [16, 3, 0]), ALLOW, "netlink route");
    assert_eq!(answer("socket", [2, 5, 0]), errno(libc::EPROTONOSUPPORT), "SCTP by its type");
    assert_eq!(answer("socket", [10, 0x8_0001, 6]), ALLOW, "TCP, close-on-exec");
}

#[test]
fn foreign_abis_are_killed() {
    let program = compile(table::rows()).unwrap();
    for number in 0..600 {
        assert_eq!(run(&program, number, I386, [0; 6]), KILL);
        assert_eq!(run(&program, number | 0x4000_0000, X86_64, [0; 6]), KILL);
    }
}
