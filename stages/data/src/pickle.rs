//! Python's pickles, as far as dictionaries of lists, texts and NumPy arrays need it.
//!
//! Nothing is imported and nothing is run: a class or function that a pickle names stays a name. Values lie in one list and
//! point to each other by number, so that no nesting, however deep, ends the process. The format: `Lib/pickletools.py` of
//! CPython.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail, ensure};

type Id = usize;

#[derive(Debug)]
enum Value<'a> {
    /// None, true, false and numbers that are no integers.
    Other,
    Integer(i64),
    /// A text or bytes: Python 2 has one type for both.
    Bytes(&'a [u8]),
    /// A list or a tuple.
    Sequence(Vec<Id>),
    Dictionary(Vec<(Id, Id)>),
    /// A class or function.
    Name(&'a [u8]),
    /// What a call of `name` with `arguments` would give, changed by `state`.
    Call {
        name: Id,
        arguments: Id,
        state: Option<Id>,
    },
}

/// A pickle, read.
#[derive(Debug)]
pub struct Pickle<'a> {
    values: Vec<Value<'a>>,
    top: Id,
}

/// An array of bytes that lies in a pickle.
#[derive(Debug, PartialEq, Eq)]
pub struct Array<'a> {
    /// The size of each dimension.
    pub shape: Vec<usize>,
    /// The elements in C order.
    pub bytes: &'a [u8],
}

impl<'a> Pickle<'a> {
    /// Reads a pickle of protocol 2 to 5.
    ///
    /// # Errors
    /// Where the bytes are none, are cut off, or hold what data of this kind has no need of.
    pub fn read(bytes: &'a [u8]) -> Result<Self> {
        ensure!(bytes.first() == Some(&0x80), "it is no pickle");
        let mut machine = Machine {
            bytes,
            at: 0,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        let top = loop {
            if let Some(top) = machine.step()? {
                break top;
            }
        };
        Ok(Pickle {
            values: machine.values,
            top,
        })
    }

    /// The integers of the list that the pickle, a dictionary, has at `key`.
    ///
    /// # Errors
    /// Where there is none.
    pub fn integers(&self, key: &str) -> Result<Vec<i64>> {
        let integer = |&id: &Id| match self.values[id] {
            Value::Integer(number) => Ok(number),
            _ => bail!("`{key}` holds what is no integer"),
        };
        self.list(key)?.iter().map(integer).collect()
    }

    /// The texts of the list that the pickle, a dictionary, has at `key`.
    ///
    /// # Errors
    /// Where there is none.
    pub fn texts(&self, key: &str) -> Result<Vec<String>> {
        let text = |&id: &Id| match self.values[id] {
            Value::Bytes(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
            _ => bail!("`{key}` holds what is no text"),
        };
        self.list(key)?.iter().map(text).collect()
    }

    /// The array of u8 that the pickle, a dictionary, has at `key`.
    ///
    /// # Errors
    /// Where there is none.
    pub fn array(&self, key: &str) -> Result<Array<'a>> {
        self.as_array(self.get(key)?)
            .with_context(|| format!("`{key}` is no NumPy array of uint8 in C order"))
    }

    fn get(&self, key: &str) -> Result<Id> {
        let Value::Dictionary(entries) = &self.values[self.top] else {
            bail!("it holds no dictionary");
        };
        let found = entries
            .iter()
            .find(|(name, _)| self.bytes(*name) == Some(key.as_bytes()));
        Ok(found.with_context(|| format!("it has no `{key}`"))?.1)
    }

    fn list(&self, key: &str) -> Result<&[Id]> {
        self.sequence(self.get(key)?)
            .with_context(|| format!("`{key}` is no list"))
    }

    fn sequence(&self, id: Id) -> Option<&[Id]> {
        match &self.values[id] {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    fn bytes(&self, id: Id) -> Option<&'a [u8]> {
        match self.values[id] {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// NumPy writes an array as `_reconstruct(…)` with the state `(version, shape, dtype, fortran_order, bytes)`, and in
    /// protocol 5 as `_frombuffer(bytes, dtype, shape, order)`.
    fn as_array(&self, id: Id) -> Option<Array<'a>> {
        let Value::Call {
            name,
            arguments,
            state,
        } = self.values[id]
        else {
            return None;
        };
        let Value::Name(name) = self.values[name] else {
            return None;
        };
        let (shape, dtype, bytes) = match (name, state.map(|state| self.sequence(state))) {
            (b"_reconstruct", Some(state)) => {
                let &[_, shape, dtype, fortran_order, bytes] = state? else {
                    return None;
                };
                match self.values[fortran_order] {
                    Value::Other | Value::Integer(0) => (shape, dtype, bytes),
                    _ => return None,
                }
            }
            (b"_frombuffer", _) => {
                let &[bytes, dtype, shape, order] = self.sequence(arguments)? else {
                    return None;
                };
                (self.bytes(order)? == b"C").then_some((shape, dtype, bytes))?
            }
            _ => return None,
        };
        let Value::Call { arguments, .. } = self.values[dtype] else {
            return None;
        };
        let dtype = self.bytes(*self.sequence(arguments)?.first()?)?;
        let shape = self
            .sequence(shape)?
            .iter()
            .map(|&id| match self.values[id] {
                Value::Integer(size) => usize::try_from(size).ok(),
                _ => None,
            });
        let shape = shape.collect::<Option<Vec<usize>>>()?;
        let bytes = self.bytes(bytes)?;
        let size = shape
            .iter()
            .try_fold(1usize, |n, &size| n.checked_mul(size))?;
        (dtype == b"u1" && size == bytes.len()).then_some(Array { shape, bytes })
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// The heights of the stack at each mark.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

impl<'a> Machine<'a> {
    /// Takes one instruction; the result stands at the last one.
    fn step(&mut self) -> Result<Option<Id>> {
        match self.take(1)?[0] {
            b'.' => return self.pop().map(Some),
            // Protocol and frame: nothing depends on them.
            0x80 => _ = self.take(1)?,
            0x95 => _ = self.take(8)?,
            b'(' => self.marks.push(self.stack.len()),
            b'0' => _ = self.pop()?,
            b'N' | 0x89 => self.push(Value::Other),
            // A truth is no integer here, but must differ from a falsehood.
            0x88 => self.push(Value::Integer(1)),
            b'K' => self.integer(1)?,
            b'M' => self.integer(2)?,
            b'J' => {
                let bytes = self.take(4)?;
                let number = i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                self.push(Value::Integer(number.into()));
            }
            0x8a => {
                let length = self.number(1)? as usize;
                let bytes = self.take(length)?;
                ensure!(length <= 8, "it holds an integer of {length} bytes");
                let negative = bytes.last().is_some_and(|&last| last >= 0x80);
                let mut wide = [if negative { 0xff } else { 0 }; 8];
                wide[..length].copy_from_slice(bytes);
                self.push(Value::Integer(i64::from_le_bytes(wide)));
            }
            b'G' => {
                self.take(8)?;
                self.push(Value::Other);
            }
            b'U' | b'C' | 0x8c => self.text(1)?,
            b'T' | b'X' | b'B' => self.text(4)?,
            0x8d | 0x8e | 0x96 => self.text(8)?,
            b']' | b')' => self.push(Value::Sequence(Vec::new())),
            b'}' => self.push(Value::Dictionary(Vec::new())),
            b'l' | b't' => {
                let items = self.since_mark()?;
                self.push(Value::Sequence(items));
            }
            size @ 0x85..=0x87 => {
                let items = self.top(usize::from(size - 0x84))?;
                self.push(Value::Sequence(items));
            }
            b'a' => {
                let items = self.top(1)?;
                self.extend(items)?;
            }
            b'e' => {
                let items = self.since_mark()?;
                self.extend(items)?;
            }
            b's' => {
                let items = self.top(2)?;
                self.insert(items)?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.insert(items)?;
            }
            b'c' => {
                self.line()?;
                let name = self.line()?;
                self.push(Value::Name(name));
            }
            0x93 => {
                let names = self.top(2)?;
                let Value::Bytes(name) = self.values[names[1]] else {
                    bail!("it names a class by what is no text");
                };
                self.push(Value::Name(name));
            }
            b'R' | 0x81 => {
                let [name, arguments] = self.top(2)?[..] else {
                    bail!("it is damaged");
                };
                self.push(Value::Call {
                    name,
                    arguments,
                    state: None,
                });
            }
            b'b' => {
                let new = self.pop()?;
                let object = *self.stack.last().context("it is damaged")?;
                if let Value::Call { state, .. } = &mut self.values[object] {
                    *state = Some(new);
                }
            }
            b'q' => self.remember(1)?,
            b'r' => self.remember(4)?,
            0x94 => {
                let id = *self.stack.last().context("it is damaged")?;
                self.memo.insert(self.memo.len() as u64, id);
            }
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            other => bail!(
                "it holds the instruction {other:#04x} at byte {}, which is not read here; save it anew with \
                 pickle.dump(x, file, protocol=4)",
                self.at - 1
            ),
        }
        Ok(None)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let left = &self.bytes[self.at..];
        ensure!(
            count <= left.len(),
            "it is truncated: at byte {} it promises {count} more, and {} are left",
            self.at,
            left.len()
        );
        self.at += count;
        Ok(&left[..count])
    }

    /// A number of `size` bytes, low ones first.
    fn number(&mut self, size: usize) -> Result<u64> {
        let bytes = self.take(size)?;
        Ok(bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    fn integer(&mut self, size: usize) -> Result<()> {
        let number = self.number(size)? as i64;
        self.push(Value::Integer(number));
        Ok(())
    }

    /// Bytes, after their number in `size` bytes.
    fn text(&mut self, size: usize) -> Result<()> {
        let length = usize::try_from(self.number(size)?)?;
        let bytes = self.take(length)?;
        self.push(Value::Bytes(bytes));
        Ok(())
    }

    fn line(&mut self) -> Result<&'a [u8]> {
        let end = self.bytes[self.at..].iter().position(|&b| b == b'\n');
        let line = self.take(end.context("it is truncated")?)?;
        self.at += 1;
        Ok(line)
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn pop(&mut self) -> Result<Id> {
        Ok(self.top(1)?[0])
    }

    /// Takes `count` values off the stack, down to the last mark at most.
    fn top(&mut self, count: usize) -> Result<Vec<Id>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let from = self.stack.len().checked_sub(count);
        let from = from.filter(|&from| from >= floor);
        Ok(self.stack.split_off(from.context("it is damaged")?))
    }

    fn since_mark(&mut self) -> Result<Vec<Id>> {
        let mark = self.marks.pop().context("it is damaged")?;
        Ok(self.stack.split_off(mark))
    }

    fn extend(&mut self, new: Vec<Id>) -> Result<()> {
        let list = *self.stack.last().context("it is damaged")?;
        if let Value::Sequence(items) = &mut self.values[list] {
            items.extend(new);
        }
        Ok(())
    }

    fn insert(&mut self, new: Vec<Id>) -> Result<()> {
        let dictionary = *self.stack.last().context("it is damaged")?;
        if let Value::Dictionary(entries) = &mut self.values[dictionary] {
            entries.extend(new.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        }
        Ok(())
    }

    fn remember(&mut self, size: usize) -> Result<()> {
        let key = self.number(size)?;
        let id = *self.stack.last().context("it is damaged")?;
        self.memo.insert(key, id);
        Ok(())
    }

    fn recall(&mut self, size: usize) -> Result<()> {
        let key = self.number(size)?;
        self.stack
            .push(*self.memo.get(&key).context("it is damaged")?);
        Ok(())
    }
}
