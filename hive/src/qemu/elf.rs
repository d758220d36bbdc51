//! One symbol's address in a program, and how much memory the program takes.
//!
//! Answers for 64-bit little-endian ELF with a symbol table, as our linker writes it.
//!
//! Never panics on other bytes: it finds nothing there.

/// Section type of a symbol table.
const SYMBOL_TABLE: u32 = 2;
const SYMBOL_BYTES: usize = 24;
/// Segment type of what is loaded into memory.
const LOAD: u32 = 1;

/// The address of `symbol`.
pub fn address_of(elf: &[u8], symbol: &str) -> Option<u64> {
    elf.starts_with(b"\x7fELF\x02\x01").then_some(())?;
    let (sections, size, count) = (word(elf, 40)?, half(elf, 58)?, half(elf, 60)?);
    let section = |index: usize| elf.get(place(sections)?.checked_add(index.checked_mul(size)?)?..);
    for index in 0..count {
        let header = section(index)?;
        if quarter(header, 4)? != SYMBOL_TABLE {
            continue;
        }
        let symbols = contents(elf, header)?;
        let names = contents(elf, section(place(u64::from(quarter(header, 40)?))?)?)?;
        let found = symbols.chunks_exact(SYMBOL_BYTES).find(|entry| {
            let name = quarter(entry, 0).and_then(|offset| names.get(offset as usize..));
            name.and_then(|name| name.split(|byte| *byte == 0).next()) == Some(symbol.as_bytes())
        });
        if let Some(entry) = found {
            return word(entry, 8);
        }
    }
    None
}

/// Bytes of memory that the program's segments take, in whole pages of 4 KiB.
pub fn loaded_bytes(elf: &[u8]) -> Option<u64> {
    elf.starts_with(b"\x7fELF\x02\x01").then_some(())?;
    let (segments, size, count) = (word(elf, 32)?, half(elf, 54)?, half(elf, 56)?);
    let mut bytes = 0_u64;
    for index in 0..count {
        let header = elf.get(place(segments)?.checked_add(index.checked_mul(size)?)?..)?;
        if quarter(header, 0)? == LOAD {
            let (address, memory) = (word(header, 16)?, word(header, 40)?);
            let begin = address / 4096;
            let end = address.checked_add(memory)?.div_ceil(4096);
            bytes = bytes.checked_add(end.checked_sub(begin)?.checked_mul(4096)?)?;
        }
    }
    Some(bytes)
}

fn contents<'a>(elf: &'a [u8], header: &[u8]) -> Option<&'a [u8]> {
    let (start, bytes) = (place(word(header, 24)?)?, place(word(header, 32)?)?);
    elf.get(start..start.checked_add(bytes)?)
}

fn place(value: u64) -> Option<usize> {
    usize::try_from(value).ok()
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn quarter(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn half(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_symbol_of_this_very_program_and_no_other() {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(address_of(&program, "_start").is_some_and(|address| address != 0));
        assert_eq!(address_of(&program, "no such symbol"), None);
    }

    #[test]
    fn other_bytes_have_no_symbols() {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for bytes in [&b""[..], b"\x7fELF\x02\x01", &program[..100], &[0xff; 200]] {
            assert_eq!(address_of(bytes, "_start"), None);
        }
    }

    #[test]
    fn a_program_takes_whole_pages_and_more_than_its_code() {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let bytes = loaded_bytes(&program).unwrap();
        assert!(bytes.is_multiple_of(4096) && bytes > 0x10_0000, "{bytes}");
        for other in [&b""[..], b"\x7fELF\x02\x01", &program[..60]] {
            assert_eq!(loaded_bytes(other), None);
        }
    }
}
