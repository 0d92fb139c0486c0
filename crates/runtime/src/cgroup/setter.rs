//! Writing the values of one controller.

use rustix::io::Errno;

use super::{CgroupError, directory::Directory};

/// Writes into one directory, and gathers what to warn of.
pub(super) struct Setter<'a> {
    directory: &'a Directory,
    updates: bool,
    warnings: &'a mut Vec<String>,
}

impl<'a> Setter<'a> {
    pub(super) fn new(
        directory: &'a Directory,
        updates: bool,
        warnings: &'a mut Vec<String>,
    ) -> Self {
        Self { directory, updates, warnings }
    }

    /// Whether values may have been set before.
    pub(super) fn updates(&self) -> bool {
        self.updates
    }

    pub(super) fn directory(&self) -> &Directory {
        self.directory
    }

    pub(super) fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    pub(super) fn set(&mut self, file: &str, value: &str) -> Result<(), CgroupError> {
        self.directory.write(file, value)
    }

    pub(super) fn set_if(
        &mut self,
        file: &str,
        value: Option<impl ToString>,
    ) -> Result<(), CgroupError> {
        value.map_or(Ok(()), |it| self.set(file, &it.to_string()))
    }

    /// Writes a value; where the kernel was built without it, warns instead.
    pub(super) fn set_or_warn(
        &mut self,
        resource: &str,
        file: &str,
        value: &str,
    ) -> Result<(), CgroupError> {
        /// `ENOTSUPP`, which is not for user space but is what kernels answer for kmem limits.
        const NOTSUPP: Errno = Errno::from_raw_os_error(524);
        let absent = [Errno::NOENT, Errno::OPNOTSUPP, NOTSUPP];
        if !self.try_set(file, value, &absent)? {
            self.warn(format!("{resource} is not supported by this kernel; ignored"));
        }
        Ok(())
    }

    /// Writes a value; tells whether it was taken, or refused for one of the reasons in `refused`.
    pub(super) fn try_set(
        &mut self,
        file: &str,
        value: &str,
        refused: &[Errno],
    ) -> Result<bool, CgroupError> {
        match self.directory.try_write(file, value) {
            Ok(()) => Ok(true),
            Err(err) if refused.contains(&err) => Ok(false),
            Err(source) => Err(CgroupError::Write {
                path: self.directory.path().join(file),
                value: value.to_owned(),
                source: source.into(),
            }),
        }
    }
}
