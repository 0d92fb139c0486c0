//! The assembler: ranges of system call numbers in, a balanced tree of comparisons out.
//!
//! It writes the filter from its end to its start, so that a jump's target is always known when
//! the jump is written and equal leaves are shared. A tree keeps the path of every call to some
//! nine comparisons where a list would need hundreds; the kernel, which evaluates the filter for
//! each number as it loads it to learn which are always allowed, gains the same.
//!
//! **Invariant:** jumps go forward only and a filter ends in a return, as the kernel demands.

use super::{
    Instruction,
    policy::{Action, Chain, Comparison, Condition},
};

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Offsets into the kernel's `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// How far a conditional jump reaches.
const REACH: usize = 255;

/// A range of system call numbers, up to the next range's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u32,
    pub(super) verdict: Verdict,
}

/// What a range leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This value.
    Return(u32),
    /// The chain of conditions at this index.
    Chain(usize),
}

/// An instruction's place, counted from the end of the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Label(usize);

/// Where a branch goes: to code that is written, or to a verdict that is not yet.
#[derive(Clone, Copy)]
enum Target {
    Code(Label),
    Leaf(Verdict),
}

/// Writes a filter backwards.
pub(super) struct Assembler<'a> {
    chains: &'a [Chain],
    reversed: Vec<Instruction>,
    /// The latest place of each verdict.
    leaves: Vec<(Verdict, Label)>,
}

impl<'a> Assembler<'a> {
    pub(super) fn new(chains: &'a [Chain]) -> Self {
        Self { chains, reversed: Vec::with_capacity(1024), leaves: Vec::new() }
    }

    /// Writes the filter for groups of ranges by audit architecture.
    pub(super) fn assemble(
        mut self,
        groups: &[(u32, Vec<Range>)],
        foreign: Action,
    ) -> Vec<Instruction> {
        let mut entries = Vec::with_capacity(groups.len());
        for (audit, ranges) in groups.iter().rev() {
            let tree = self.tree(ranges);
            let tree = self.place(tree);
            self.bring_last(tree);
            entries.push((*audit, self.push(LOAD, NUMBER)));
        }
        let mut next = self.push(RETURN, foreign.value());
        for (audit, entry) in entries {
            next = self.branch(JUMP_EQUAL, audit, entry, next);
        }
        self.bring_last(next);
        self.push(LOAD, ARCH);
        self.reversed.reverse();
        self.reversed
    }

    fn tree(&mut self, ranges: &[Range]) -> Target {
        match ranges {
            [only] => Target::Leaf(only.verdict),
            // One number apart from its neighbours is one comparison, not two.
            [before, apart, after]
                if before.verdict == after.verdict && apart.start + 1 == after.start =>
            {
                let yes = self.place(Target::Leaf(apart.verdict));
                let no = self.place(Target::Leaf(before.verdict));
                Target::Code(self.branch(JUMP_EQUAL, apart.start, yes, no))
            }
            _ => {
                let (low, high) = ranges.split_at(ranges.len() / 2);
                let split = high[0].start;
                let high = self.tree(high);
                let low = self.tree(low);
                let yes = self.place(high);
                let no = self.place(low);
                Target::Code(self.branch(JUMP_GREATER_OR_EQUAL, split, yes, no))
            }
        }
    }

    /// Finds or writes the code of a target.
    fn place(&mut self, target: Target) -> Label {
        let verdict = match target {
            Target::Code(label) => return label,
            Target::Leaf(verdict) => verdict,
        };
        let present = self.leaves.iter().position(|(it, _)| *it == verdict);
        if let Some(at) = present {
            let label = self.leaves[at].1;
            // Writing a return again is as cheap as a jump to a far one, and saves its step.
            let near = self.distance(label) + 4 < REACH;
            if near || matches!(verdict, Verdict::Chain(_)) {
                return label;
            }
        }
        let label = match verdict {
            Verdict::Return(value) => self.push(RETURN, value),
            Verdict::Chain(index) => self.chain(&self.chains[index]),
        };
        match present {
            Some(at) => self.leaves[at].1 = label,
            None => self.leaves.push((verdict, label)),
        }
        label
    }

    fn chain(&mut self, chain: &Chain) -> Label {
        let mut next = self.place(Target::Leaf(Verdict::Return(chain.otherwise.value())));
        for (conditions, action) in chain.steps.iter().rev() {
            let mut yes = self.place(Target::Leaf(Verdict::Return(action.value())));
            for condition in conditions.iter().rev() {
                yes = self.condition(*condition, yes, next);
            }
            next = yes;
        }
        next
    }

    fn condition(&mut self, condition: Condition, yes: Label, no: Label) -> Label {
        let argument = condition.argument;
        match condition.comparison {
            Comparison::Equal(value) => self.equal(argument, u64::MAX, value, yes, no),
            Comparison::NotEqual(value) => self.equal(argument, u64::MAX, value, no, yes),
            Comparison::MaskedEqual { mask, value } => self.equal(argument, mask, value, yes, no),
            Comparison::Greater(value) => self.order(JUMP_GREATER, argument, value, yes, no),
            Comparison::LessOrEqual(value) => self.order(JUMP_GREATER, argument, value, no, yes),
            Comparison::GreaterOrEqual(value) => {
                self.order(JUMP_GREATER_OR_EQUAL, argument, value, yes, no)
            }
            Comparison::Less(value) => self.order(JUMP_GREATER_OR_EQUAL, argument, value, no, yes),
        }
    }

    /// Compares an argument's two halves, the upper first.
    fn equal(&mut self, argument: u8, mask: u64, value: u64, yes: Label, no: Label) -> Label {
        let lower = self.half(low_of(argument), lower(mask), lower(value), yes, no);
        if upper(mask) == 0 && upper(value) == 0 {
            return lower;
        }
        self.half(high_of(argument), upper(mask), upper(value), lower, no)
    }

    fn half(&mut self, offset: u32, mask: u32, value: u32, yes: Label, no: Label) -> Label {
        let label = self.branch(JUMP_EQUAL, value, yes, no);
        if mask != u32::MAX {
            self.bring_last(label);
            self.push(AND, mask);
        }
        self.push(LOAD, offset)
    }

    fn order(&mut self, code: u16, argument: u8, value: u64, yes: Label, no: Label) -> Label {
        self.branch(code, lower(value), yes, no);
        let low = self.push(LOAD, low_of(argument));
        let same = self.branch(JUMP_EQUAL, upper(value), low, no);
        self.branch(JUMP_GREATER, upper(value), yes, same);
        self.push(LOAD, high_of(argument))
    }

    /// Writes a conditional jump, and plain jumps for what it cannot reach.
    fn branch(&mut self, code: u16, k: u32, yes: Label, no: Label) -> Label {
        // Each plain jump moves the branch one further away from the other target.
        let yes = self.bring_near(yes, 1);
        let no = self.bring_near(no, 0);
        let instruction =
            Instruction { code, jump_true: self.reach(yes), jump_false: self.reach(no), k };
        self.write(instruction)
    }

    fn bring_near(&mut self, label: Label, slack: usize) -> Label {
        if self.distance(label) + slack <= REACH { label } else { self.jump(label) }
    }

    /// Makes `label` what the next written instruction falls through to.
    fn bring_last(&mut self, label: Label) {
        if self.distance(label) > 0 {
            self.jump(label);
        }
    }

    fn jump(&mut self, label: Label) -> Label {
        let distance = u32::try_from(self.distance(label)).unwrap_or(u32::MAX);
        self.push(JUMP, distance)
    }

    fn push(&mut self, code: u16, k: u32) -> Label {
        self.write(Instruction { code, jump_true: 0, jump_false: 0, k })
    }

    fn write(&mut self, instruction: Instruction) -> Label {
        self.reversed.push(instruction);
        Label(self.reversed.len() - 1)
    }

    /// How many instructions lie between the next written one and `label`.
    fn distance(&self, label: Label) -> usize {
        self.reversed.len() - 1 - label.0
    }

    fn reach(&self, label: Label) -> u8 {
        u8::try_from(self.distance(label))
            .expect("BUG: a branch to a label that was not brought near")
    }
}

fn low_of(argument: u8) -> u32 {
    ARGUMENTS + 8 * u32::from(argument)
}

fn high_of(argument: u8) -> u32 {
    low_of(argument) + 4
}

fn lower(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).expect("BUG: 32 bits do not fit into 32 bits")
}

fn upper(value: u64) -> u32 {
    u32::try_from(value >> 32).expect("BUG: 32 bits do not fit into 32 bits")
}
