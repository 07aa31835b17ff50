//! Turns the table into a classic BPF program: a binary search over ranges of call numbers.
//!
//! The number of instructions is what a start pays for (the kernel walks the program once for
//! every call number when it is loaded), so neighbouring numbers with the same answer share one
//! range and all ends of the program are shared. Own code instead of libseccomp: that library
//! compares each number for itself (four times as many instructions) and compares 64 bits of
//! every argument.

use super::rules::{Answer, Rule, Verdict};
use super::table::Row;

const LOAD_WORD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
/// Numbers from here on mean the x32 ABI.
const X32_BIT: u32 = 0x4000_0000;
const RET_ALLOW: u32 = 0x7fff_0000;
const RET_ERRNO: u32 = 0x0005_0000;
const RET_KILL_PROCESS: u32 = 0x8000_0000;

const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCHITECTURE: u32 = 4;

/// One instruction, `struct sock_filter` of `linux/filter.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    pub(super) jump_true: u8,
    pub(super) jump_false: u8,
    pub(super) k: u32,
}

/// Where a jump goes.
#[derive(Debug, Clone, Copy)]
enum Target {
    Next,
    Label(usize),
    Return(u32),
}

struct Op {
    code: u16,
    k: u32,
    jump_true: Target,
    jump_false: Target,
}

/// The program could not be written down: a jump would be longer than the format can express.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

#[derive(Default)]
struct Assembler {
    ops: Vec<Op>,
    labels: Vec<usize>,
}

/// What a range of numbers leads to.
#[derive(Clone, Copy)]
enum Leaf {
    Return(u32),
    Rule(&'static Rule),
}

impl PartialEq for Leaf {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Return(a), Self::Return(b)) => a == b,
            _ => false,
        }
    }
}

fn errno(number: i32) -> u32 {
    RET_ERRNO | number.cast_unsigned() & 0xffff
}

fn answer(answer: Answer) -> Target {
    Target::Return(match answer {
        Answer::Allow => RET_ALLOW,
        Answer::Errno(number) => errno(number),
    })
}

/// Ranges of equal answers: the first number of each, ascending from 0.
fn ranges(rows: impl Iterator<Item = Row>) -> Vec<(u32, Leaf)> {
    let mut rows: Vec<(u32, Leaf)> = rows
        .filter_map(|row| {
            let leaf = match row.verdict {
                Verdict::Allow => Leaf::Return(RET_ALLOW),
                Verdict::Refuse => Leaf::Return(errno(libc::EPERM)),
                Verdict::Absent => Leaf::Return(errno(libc::ENOSYS)),
                Verdict::When(rule) => Leaf::Rule(rule),
            };
            Some((u32::try_from(row.number).ok()?, leaf))
        })
        .collect();
    rows.sort_by_key(|(number, _)| *number);
    let mut ranges: Vec<(u32, Leaf)> = Vec::new();
    let mut push = |start, leaf| {
        if ranges.last().is_none_or(|(_, last)| *last != leaf) {
            ranges.push((start, leaf));
        }
    };
    let mut next = 0;
    for (number, leaf) in rows {
        if number > next {
            push(next, Leaf::Return(errno(libc::ENOSYS)));
        }
        push(number, leaf);
        next = number + 1;
    }
    push(next, Leaf::Return(errno(libc::ENOSYS)));
    ranges
}

impl Assembler {
    fn label(&mut self) -> usize {
        self.labels.push(usize::MAX);
        self.labels.len() - 1
    }

    fn place(&mut self, label: usize) {
        self.labels[label] = self.ops.len();
    }

    fn statement(&mut self, code: u16, k: u32) {
        self.ops.push(Op { code, k, jump_true: Target::Next, jump_false: Target::Next });
    }

    fn jump(&mut self, code: u16, k: u32, jump_true: Target, jump_false: Target) {
        self.ops.push(Op { code, k, jump_true, jump_false });
    }

    /// The search over `ranges`, at least two of them; rules met are put off into `rules`.
    fn search(&mut self, ranges: &[(u32, Leaf)], rules: &mut Vec<(usize, &'static Rule)>) {
        let (low, high) = ranges.split_at(ranges.len() / 2);
        let right = self.branch(high, rules);
        let left = self.branch(low, rules);
        let descend = |target: &Option<Target>| target.unwrap_or(Target::Next);
        let right_label = self.label();
        let jump_true = right.unwrap_or(Target::Label(right_label));
        self.jump(JUMP_GREATER_OR_EQUAL, high[0].0, jump_true, descend(&left));
        if left.is_none() {
            self.search(low, rules);
        }
        self.place(right_label);
        if right.is_none() {
            self.search(high, rules);
        }
    }

    /// Where a half of the search leads, if it is one range only.
    fn branch(&mut self, half: &[(u32, Leaf)], rules: &mut Vec<(usize, &'static Rule)>) -> Option<Target> {
        match half {
            [(_, Leaf::Return(value))] => Some(Target::Return(*value)),
            [(_, Leaf::Rule(rule))] => {
                let label = self.label();
                rules.push((label, rule));
                Some(Target::Label(label))
            }
            _ => None,
        }
    }

    fn rule(&mut self, rule: &Rule) {
        for (index, case) in rule.cases.iter().enumerate() {
            let last_case = index + 1 == rule.cases.len();
            let next_case = self.label();
            let miss = if last_case { answer(rule.otherwise) } else { Target::Label(next_case) };
            for (position, test) in case.tests.iter().enumerate() {
                let last_test = position + 1 == case.tests.len();
                let matched = self.label();
                let hit = if last_test { answer(case.answer) } else { Target::Label(matched) };
                self.statement(LOAD_WORD, 16 + 8 * u32::from(test.argument));
                if test.mask != u32::MAX {
                    self.statement(AND, test.mask);
                }
                for (nth, value) in test.values.iter().enumerate() {
                    let on_other = if nth + 1 == test.values.len() { miss } else { Target::Next };
                    self.jump(JUMP_EQUAL, *value, hit, on_other);
                }
                self.place(matched);
            }
            self.place(next_case);
        }
    }

    /// Appends the shared ends and turns targets into distances.
    fn finish(self) -> Result<Vec<Instruction>, TooLong> {
        let mut ends: Vec<u32> = Vec::new();
        let length = self.ops.len();
        let mut distance = |from: usize, target: Target| {
            let to = match target {
                Target::Next => from + 1,
                Target::Label(label) => self.labels[label],
                Target::Return(value) => {
                    let end = ends.iter().position(|end| *end == value).unwrap_or_else(|| {
                        ends.push(value);
                        ends.len() - 1
                    });
                    length + end
                }
            };
            to.checked_sub(from + 1).and_then(|by| u8::try_from(by).ok()).ok_or(TooLong)
        };
        let mut program = Vec::with_capacity(length + 8);
        for (at, op) in self.ops.iter().enumerate() {
            program.push(Instruction {
                code: op.code,
                jump_true: distance(at, op.jump_true)?,
                jump_false: distance(at, op.jump_false)?,
                k: op.k,
            });
        }
        program.extend(ends.iter().map(|end| Instruction {
            code: RETURN,
            jump_true: 0,
            jump_false: 0,
            k: *end,
        }));
        Ok(program)
    }
}

/// The program for a table.
pub(super) fn compile(rows: impl Iterator<Item = Row>) -> Result<Vec<Instruction>, TooLong> {
    let kill = Target::Return(RET_KILL_PROCESS);
    let mut assembler = Assembler::default();
    assembler.statement(LOAD_WORD, OFFSET_ARCHITECTURE);
    assembler.jump(JUMP_EQUAL, AUDIT_ARCH_X86_64, Target::Next, kill);
    assembler.statement(LOAD_WORD, OFFSET_NUMBER);
    assembler.jump(JUMP_GREATER_OR_EQUAL, X32_BIT, kill, Target::Next);
    let mut rules = Vec::new();
    assembler.search(&ranges(rows), &mut rules);
    for (label, rule) in rules {
        assembler.place(label);
        assembler.rule(rule);
    }
    assembler.finish()
}
