//! Giving memory back: what a process that will mostly sleep does not need resident.

use std::{ffi::c_void, ptr, slice};

/// Gives memory that was freed on the C library's heap back to the kernel.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer, and the allocator guards itself.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Forgets the pages of this program's code and constants. Those that are needed again come back
/// from the page cache, at less than a microsecond each.
pub fn forget_code() {
    // SAFETY: `forget_object` has the signature demanded, and uses no data.
    unsafe { libc::dl_iterate_phdr(Some(forget_object), ptr::null_mut()) };
}

/// Forgets what one loaded object maps without ever writing to it.
unsafe extern "C" fn forget_object(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    _data: *mut c_void,
) -> libc::c_int {
    // SAFETY: the C library passes a valid description.
    let info = unsafe { &*info };
    // SAFETY: it says how many headers there are, and where.
    let headers = unsafe { slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    for header in headers {
        if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0 {
            forget(info.dlpi_addr + header.p_vaddr, header.p_memsz);
        }
    }
    0
}

/// Forgets the whole pages inside a range that is mapped from a file and never written to.
fn forget(start: u64, length: u64) {
    const PAGE: u64 = 4096;
    let end = (start + length) / PAGE * PAGE;
    let start = start.div_ceil(PAGE) * PAGE;
    if start >= end {
        return;
    }
    let (Ok(start), Ok(length)) = (usize::try_from(start), usize::try_from(end - start)) else {
        return;
    };
    // SAFETY: the segment was never writable: its pages equal the file's, and are read from it
    // again. Advice that cannot be taken changes nothing.
    unsafe { libc::madvise(ptr::with_exposed_provenance_mut(start), length, libc::MADV_DONTNEED) };
}

#[cfg(test)]
mod tests {
    #[test]
    fn code_and_constants_come_back_when_they_are_needed() {
        static CONSTANT: [u64; 4096] = [7; 4096];
        for _ in 0..100 {
            super::forget_code();
            assert_eq!(std::hint::black_box(&CONSTANT).iter().sum::<u64>(), 7 * 4096);
        }
    }
}
