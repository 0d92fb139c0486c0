//! The C library's heap.

/// Gives memory that was freed back to the kernel.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer, and the allocator guards itself.
    unsafe {
        libc::malloc_trim(0)
    };
}
