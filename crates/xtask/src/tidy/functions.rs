//! Functions: no longer than can be read at once, and what is public says what it is.

use std::path::Path;

use anyhow::{Context as _, Result};
use proc_macro2::Span;
use syn::{spanned::Spanned as _, visit::Visit};

/// No function is longer, in lines from its signature to its closing brace.
const LONGEST: usize = 70;
/// Of all functions, so many per mille may be longer than [`LONG`].
const LONG: usize = 60;
const LONG_PER_MILLE: usize = 30;
/// Nine of ten functions are no longer than this.
const P90: usize = 30;

/// The sizes of all production functions seen so far.
#[derive(Default)]
pub(crate) struct Sizes {
    lines: Vec<usize>,
}

impl Sizes {
    /// Measures the functions of one file; lists those that are too long.
    pub(crate) fn add(&mut self, path: &Path, text: &str) -> Result<Vec<String>> {
        let file = syn::parse_file(text).with_context(|| path.display().to_string())?;
        let mut visitor = Visitor::default();
        visitor.visit_file(&file);
        let long = visitor.found.iter().filter(|(_, _, lines)| *lines > LONGEST);
        let name = path.display();
        let problems = long.map(|(function, line, lines)| {
            format!("{name}:{line}: {function} has {lines} lines, the budget is {LONGEST}")
        });
        let problems = problems.collect();
        if !path.components().any(|it| it.as_os_str() == "tests") {
            self.lines.extend(visitor.found.iter().map(|(_, _, lines)| lines));
        }
        Ok(problems)
    }

    /// Checks the distribution over the whole tree.
    pub(crate) fn check(mut self) -> Vec<String> {
        self.lines.sort_unstable();
        let count = self.lines.len().max(1);
        let at = |per_mille: usize| self.lines.get(count * per_mille / 1000).copied().unwrap_or(0);
        let long = self.lines.iter().filter(|it| **it > LONG).count() * 1000 / count;
        println!(
            "{count} functions: median {} lines, p90 {}, p99 {}, {long} per mille over {LONG}",
            at(500),
            at(900),
            at(990)
        );
        let mut problems = Vec::new();
        if at(900) > P90 {
            problems.push(format!("p90 of functions is {} lines, the budget is {P90}", at(900)));
        }
        if long > LONG_PER_MILLE {
            problems.push(format!("{long} per mille of functions are over {LONG} lines, the budget is {LONG_PER_MILLE}"));
        }
        problems
    }
}

/// Collects name, line and length of every function outside test modules.
#[derive(Default)]
struct Visitor {
    found: Vec<(String, usize, usize)>,
}

impl Visitor {
    fn add(&mut self, name: &syn::Ident, span: Span) {
        let (start, end) = (span.start().line, span.end().line);
        self.found.push((name.to_string(), start, end + 1 - start));
    }
}

impl<'ast> Visit<'ast> for Visitor {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let is_test = |it: &syn::Attribute| {
            it.path().is_ident("cfg")
                && it.meta.require_list().is_ok_and(|it| it.tokens.to_string() == "test")
        };
        if !module.attrs.iter().any(is_test) {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        let span = function
            .sig
            .span()
            .join(function.block.span())
            .unwrap_or_else(|| function.block.span());
        self.add(&function.sig.ident, span);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        let span = function
            .sig
            .span()
            .join(function.block.span())
            .unwrap_or_else(|| function.block.span());
        self.add(&function.sig.ident, span);
        syn::visit::visit_impl_item_fn(self, function);
    }
}
