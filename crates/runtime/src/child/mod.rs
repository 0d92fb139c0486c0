//! The new process, from its birth to its executable.
