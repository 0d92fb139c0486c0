//! The commands: one module each, or one for a family that does the same to each argument.

pub(crate) mod attach;
pub(crate) mod completion;
pub(crate) mod create;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod images;
pub(crate) mod import;
pub(crate) mod info;
pub(crate) mod inspect;
pub(crate) mod load;
pub(crate) mod logs;
pub(crate) mod man;
pub(crate) mod ps;
pub(crate) mod rmi;
pub(crate) mod run;
pub(crate) mod start;
pub(crate) mod tag;
pub(crate) mod top;
pub(crate) mod verbs;
pub(crate) mod version;
