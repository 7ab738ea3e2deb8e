//! The stack machine of pickles, without the part that calls what a file names.
//!
//! Values stand in one list and refer to each other by their places, so that no file can make them deep to drop, or large
//! by copying. The instructions are those of Python's `pickletools.py`.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use tch::Kind;

use super::{Storage, View};

/// What makes a tensor of a storage.
const REBUILD: &str = "torch._utils._rebuild_tensor_v2";

/// A value's place.
pub type Id = usize;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// `None`.
    None,
    /// A truth value.
    Bool(bool),
    /// An integer of up to 64 bits.
    Int(i64),
    /// A text.
    Text(String),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A list.
    List(Vec<Id>),
    /// A dict, in its order; `OrderedDict` is one too.
    Dict(Vec<(Id, Id)>),
    /// A class or function, as `module.name`.
    Global(String),
    /// Where a tensor's elements are.
    Storage(Storage),
    /// A tensor.
    Tensor(View),
    /// The result of a call that was not made, or a value that no state dict needs; what it would have been.
    Opaque(String),
}

/// What has been built.
#[derive(Default)]
pub struct Machine {
    nodes: Vec<Node>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl Machine {
    /// A value.
    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id]
    }

    /// All storages that were named.
    pub fn storages(&self) -> impl Iterator<Item = &Storage> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Storage(storage) => Some(storage),
            _ => None,
        })
    }

    /// What a value is, in words.
    pub fn describe(&self, id: Id) -> String {
        match &self.nodes[id] {
            Node::None => "nothing".into(),
            Node::Bool(_) | Node::Int(_) => "a number".into(),
            Node::Text(_) => "a text".into(),
            Node::Tuple(_) | Node::List(_) => "a list".into(),
            Node::Dict(_) => "a dict".into(),
            Node::Storage(_) | Node::Tensor(_) => "a single tensor".into(),
            Node::Global(name) | Node::Opaque(name) => format!("a `{name}`"),
        }
    }

    /// Runs a pickle from the beginning of `bytes`; gives its value and its length.
    ///
    /// # Errors
    /// Where it is damaged, or has an instruction that no state dict needs.
    pub fn run(&mut self, bytes: &[u8]) -> Result<(Id, usize)> {
        let mut code = Code { bytes, at: 0 };
        loop {
            let at = code.at;
            let instruction = code.byte()?;
            if instruction == b'.' {
                let root = self.pop()?;
                return Ok((root, code.at));
            }
            self.step(instruction, &mut code)
                .with_context(|| format!("its pickle is damaged at byte {at}"))?;
        }
    }

    fn step(&mut self, instruction: u8, code: &mut Code) -> Result<()> {
        match instruction {
            // The protocol's version, and the length of a frame.
            0x80 => drop(code.byte()?),
            0x95 => drop(code.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.since_mark()?),
            b'2' => {
                let top = *self.stack.last().context("a value is missing")?;
                self.stack.push(top);
            }
            b'N' => self.push(Node::None),
            0x88 => self.push(Node::Bool(true)),
            0x89 => self.push(Node::Bool(false)),
            b'K' => {
                let number = code.byte()?;
                self.push(Node::Int(number.into()));
            }
            b'M' => {
                let number = code.number(2)?;
                self.push(Node::Int(number as i64));
            }
            b'J' => {
                let number = code.number(4)? as u32;
                self.push(Node::Int(number.cast_signed().into()));
            }
            0x8a => {
                let length = code.byte()?;
                let bytes = code.take(length.into())?;
                self.push(long(bytes));
            }
            0x8b => {
                let length = code.number(4)?;
                let bytes = code.take(usize::try_from(length)?)?;
                self.push(long(bytes));
            }
            b'G' => {
                code.take(8)?;
                self.push(Node::Opaque("float".into()));
            }
            b'X' => self.text(code, 4)?,
            0x8c => self.text(code, 1)?,
            0x8d => self.text(code, 8)?,
            // Python 2's texts.
            b'T' => self.text(code, 4)?,
            b'U' => self.text(code, 1)?,
            // Bytes: of 1, 4 and 8 bytes of length, and a bytearray.
            b'C' => self.bytes(code, 1)?,
            b'B' => self.bytes(code, 4)?,
            0x8e | 0x96 => self.bytes(code, 8)?,
            b'}' => self.push(Node::Dict(vec![])),
            b']' => self.push(Node::List(vec![])),
            0x8f => self.push(Node::Opaque("set".into())),
            0x90 => {
                let items = self.since_mark()?;
                self.extend(&items)?;
            }
            0x91 => {
                self.since_mark()?;
                self.push(Node::Opaque("frozenset".into()));
            }
            b'l' => {
                let items = self.since_mark()?;
                self.push(Node::List(items));
            }
            b'd' => {
                let items = self.since_mark()?;
                self.push(Node::Dict(vec![]));
                self.set(&items)?;
            }
            b')' => self.push(Node::Tuple(vec![])),
            b't' => {
                let items = self.since_mark()?;
                self.push(Node::Tuple(items));
            }
            0x85..=0x87 => {
                let count = usize::from(instruction - 0x84);
                let items = self.last(count)?;
                self.push(Node::Tuple(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(&[item])?;
            }
            b'e' => {
                let items = self.since_mark()?;
                self.extend(&items)?;
            }
            b's' => {
                let pair = self.last(2)?;
                self.set(&pair)?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set(&items)?;
            }
            b'c' => {
                let (module, name) = (code.line()?, code.line()?);
                self.push(Node::Global(format!("{module}.{name}")));
            }
            0x93 => {
                let names = self.last(2)?;
                let (Node::Text(module), Node::Text(name)) =
                    (self.node(names[0]), self.node(names[1]))
                else {
                    bail!("a class has no name");
                };
                let global = Node::Global(format!("{module}.{name}"));
                self.push(global);
            }
            b'q' => {
                let place = code.byte()?;
                self.remember(place.into())?;
            }
            b'r' => {
                let place = code.number(4)?;
                self.remember(place as u32)?;
            }
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' => {
                let place = code.byte()?;
                self.recall(place.into())?;
            }
            b'j' => {
                let place = code.number(4)?;
                self.recall(place as u32)?;
            }
            b'Q' => {
                let persistent = self.pop()?;
                let storage = self.storage(persistent)?;
                self.push(storage);
            }
            // A call, and `cls.__new__(cls, *args)`.
            b'R' | 0x81 => {
                let call = self.last(2)?;
                let result = self.call(call[0], call[1])?;
                self.push(result);
            }
            // The same with arguments by name, which no constructor that is known here has.
            0x92 => {
                let call = self.last(3)?;
                let result = self.call(call[0], call[1])?;
                self.push(result);
            }
            // Attributes of an object, such as the `_metadata` of a state dict: passed over.
            b'b' => drop(self.pop()?),
            other => bail!("it has the instruction {other:#04x}, which no state dict needs"),
        }
        Ok(())
    }

    fn push(&mut self, node: Node) {
        self.nodes.push(node);
        self.stack.push(self.nodes.len() - 1);
    }

    fn pop(&mut self) -> Result<Id> {
        let least = self.marks.last().copied().unwrap_or(0);
        ensure!(self.stack.len() > least, "a value is missing");
        self.stack.pop().context("a value is missing")
    }

    /// The last `count` values, taken off the stack.
    fn last(&mut self, count: usize) -> Result<Vec<Id>> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
        items.reverse();
        Ok(items)
    }

    fn since_mark(&mut self) -> Result<Vec<Id>> {
        let mark = self.marks.pop().context("a mark is missing")?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&mut self) -> Result<&mut Node> {
        let top = *self.stack.last().context("a value is missing")?;
        Ok(&mut self.nodes[top])
    }

    fn extend(&mut self, items: &[Id]) -> Result<()> {
        match self.top()? {
            Node::List(list) => list.extend(items),
            Node::Opaque(_) => {}
            _ => bail!("something is appended to what is no list"),
        }
        Ok(())
    }

    fn set(&mut self, items: &[Id]) -> Result<()> {
        match self.top()? {
            Node::Dict(dict) => dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
            Node::Opaque(_) => {}
            _ => bail!("an item is set in what is no dict"),
        }
        Ok(())
    }

    fn text(&mut self, code: &mut Code, size: usize) -> Result<()> {
        let length = code.number(size)?;
        let bytes = code.take(usize::try_from(length)?)?;
        // Lone surrogates, which Python may hold, are of no use in a name.
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.push(Node::Text(text));
        Ok(())
    }

    fn bytes(&mut self, code: &mut Code, size: usize) -> Result<()> {
        let length = code.number(size)?;
        code.take(usize::try_from(length)?)?;
        self.push(Node::Opaque("bytes".into()));
        Ok(())
    }

    fn remember(&mut self, place: u32) -> Result<()> {
        let top = *self.stack.last().context("a value is missing")?;
        self.memo.insert(place, top);
        Ok(())
    }

    fn recall(&mut self, place: u32) -> Result<()> {
        let id = self.memo.get(&place).context("a value is missing")?;
        self.stack.push(*id);
        Ok(())
    }

    /// What a persistent id stands for: `("storage", type, key, location, elements, view?)`. One of a type that no network
    /// learns in is opaque: what holds it may be of no interest.
    fn storage(&self, id: Id) -> Result<Node> {
        let Node::Tuple(items) = self.node(id) else {
            bail!("a storage is no tuple");
        };
        let get = |index: usize| items.get(index).map(|&id| self.node(id));
        let (Some(Node::Global(class)), Some(Node::Text(key)), Some(&Node::Int(elements))) =
            (get(1), get(2), get(4))
        else {
            bail!("a storage has no type, key and number of elements");
        };
        // Before 0.4 PyTorch wrote that a storage is a part of another one; read as the whole it would give other numbers.
        ensure!(
            matches!(get(5), None | Some(Node::None)),
            "a storage is a part of another one, as PyTorch before 0.4 wrote it; load the file with PyTorch and save it again"
        );
        let kind = match class.rsplit('.').next().unwrap_or_default() {
            "FloatStorage" => Kind::Float,
            "DoubleStorage" => Kind::Double,
            "HalfStorage" => Kind::Half,
            "BFloat16Storage" => Kind::BFloat16,
            "LongStorage" => Kind::Int64,
            "IntStorage" => Kind::Int,
            "ShortStorage" => Kind::Int16,
            "CharStorage" => Kind::Int8,
            "ByteStorage" => Kind::Uint8,
            "BoolStorage" => Kind::Bool,
            "ComplexFloatStorage" => Kind::ComplexFloat,
            "ComplexDoubleStorage" => Kind::ComplexDouble,
            _ => return Ok(Node::Opaque(class.clone())),
        };
        Ok(Node::Storage(Storage {
            kind,
            key: key.clone(),
            elements: usize::try_from(elements)
                .context("a storage has a negative number of elements")?,
        }))
    }

    /// The result of the few calls that a state dict has. No other call is made.
    fn call(&self, function: Id, arguments: Id) -> Result<Node> {
        let Node::Global(name) = self.node(function) else {
            return Ok(Node::Opaque("call".into()));
        };
        let Node::Tuple(arguments) = self.node(arguments) else {
            bail!("`{name}` is called without a tuple of arguments");
        };
        match name.as_str() {
            "collections.OrderedDict" => self.ordered_dict(arguments),
            REBUILD | "torch._utils._rebuild_tensor" => self.tensor(arguments),
            "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state" => {
                let data = arguments.first().context("a parameter has no tensor")?;
                Ok(self.node(*data).clone())
            }
            // A tensor with attributes: `(how, type, arguments, attributes)`.
            "torch._tensor._rebuild_from_type_v2" => {
                match (arguments.first().map(|&id| self.node(id)), arguments.get(2)) {
                    (Some(Node::Global(how)), Some(&inner)) if how == REBUILD => {
                        match self.node(inner) {
                            Node::Tuple(arguments) => self.tensor(arguments),
                            _ => bail!("a tensor has no storage, offset, size and stride"),
                        }
                    }
                    _ => Ok(Node::Opaque(name.clone())),
                }
            }
            _ => Ok(Node::Opaque(name.clone())),
        }
    }

    /// Empty, or of pairs, as Python 2 saved it.
    fn ordered_dict(&self, arguments: &[Id]) -> Result<Node> {
        let mut dict = Vec::new();
        if let Some(&pairs) = arguments.first() {
            let Node::List(pairs) = self.node(pairs) else {
                bail!("an OrderedDict is made of something else than pairs");
            };
            for &pair in pairs {
                match self.node(pair) {
                    Node::List(pair) | Node::Tuple(pair) if pair.len() == 2 => {
                        dict.push((pair[0], pair[1]));
                    }
                    _ => bail!("an OrderedDict is made of something else than pairs"),
                }
            }
        }
        Ok(Node::Dict(dict))
    }

    /// `(storage, offset, size, stride, …)`.
    fn tensor(&self, arguments: &[Id]) -> Result<Node> {
        let get = |index: usize| arguments.get(index).map(|&id| self.node(id));
        let integers = |node: Option<&Node>| -> Option<Vec<i64>> {
            let Some(Node::Tuple(items)) = node else {
                return None;
            };
            items
                .iter()
                .map(|&id| match self.node(id) {
                    Node::Int(number) => Some(*number),
                    _ => None,
                })
                .collect()
        };
        match (get(0), get(1), integers(get(2)), integers(get(3))) {
            (Some(Node::Storage(storage)), Some(&Node::Int(offset)), Some(size), Some(stride)) => {
                Ok(Node::Tensor(View {
                    storage: storage.clone(),
                    offset: usize::try_from(offset).context("a tensor has a negative offset")?,
                    size,
                    stride,
                }))
            }
            (Some(Node::Opaque(class)), ..) => Ok(Node::Opaque(class.clone())),
            _ => bail!("a tensor has no storage, offset, size and stride"),
        }
    }
}

/// A little-endian integer of any length, in two's complement.
fn long(bytes: &[u8]) -> Node {
    if bytes.len() > 8 {
        return Node::Opaque("int".into());
    }
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Node::Int(i64::from_le_bytes(wide))
}

/// The instructions that are left.
struct Code<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Code<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(count);
        let bytes = end
            .and_then(|end| self.bytes.get(self.at..end))
            .context("its pickle is truncated")?;
        self.at += count;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// A little-endian number of up to 8 bytes.
    fn number(&mut self, size: usize) -> Result<u64> {
        let mut wide = [0; 8];
        wide[..size].copy_from_slice(self.take(size)?);
        Ok(u64::from_le_bytes(wide))
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.bytes[self.at..];
        let length = rest
            .iter()
            .position(|&byte| byte == b'\n')
            .context("its pickle is truncated")?;
        let line = self.take(length)?;
        self.take(1)?;
        std::str::from_utf8(line).context("a name is no text")
    }
}
