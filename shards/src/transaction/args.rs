//! A command's arguments on their way to another shard: one allocation.

/// Layout: number of arguments u32, their end offsets u32 each (counted from the first argument's first byte), then the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedArgs(Box<[u8]>);

/// Commands with at most this many arguments are unpacked without an allocation.
const ON_STACK: usize = 12;

impl PackedArgs {
    pub fn new(args: &[&[u8]]) -> PackedArgs {
        let header = 4 + 4 * args.len();
        let mut out = Vec::with_capacity(header + args.iter().map(|arg| arg.len()).sum::<usize>());
        out.extend_from_slice(&(args.len() as u32).to_le_bytes());
        let mut end = 0u32;
        for arg in args {
            end += u32::try_from(arg.len()).expect("an argument is bounded by proto-max-bulk-len");
            out.extend_from_slice(&end.to_le_bytes());
        }
        args.iter().for_each(|arg| out.extend_from_slice(arg));
        PackedArgs(out.into_boxed_slice())
    }

    pub fn with<R>(&self, f: impl FnOnce(&[&[u8]]) -> R) -> R {
        let len = self.len();
        if len <= ON_STACK {
            let mut args: [&[u8]; ON_STACK] = [&[]; ON_STACK];
            args[..len].iter_mut().enumerate().for_each(|(i, arg)| *arg = self.get(i));
            f(&args[..len])
        } else {
            let args: Vec<&[u8]> = (0..len).map(|i| self.get(i)).collect();
            f(&args)
        }
    }

    pub fn len(&self) -> usize {
        self.number(0) as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.number(index) as usize };
        let body = &self.0[4 + 4 * self.len()..];
        &body[start..self.number(index + 1) as usize]
    }

    fn number(&self, index: usize) -> u32 {
        u32::from_le_bytes(self.0[4 * index..4 * index + 4].try_into().expect("four bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_survive_packing() {
        for count in [0usize, 1, 3, 12, 13, 100] {
            let owned: Vec<Vec<u8>> = (0..count).map(|i| vec![i as u8; i % 7]).collect();
            let args: Vec<&[u8]> = owned.iter().map(Vec::as_slice).collect();
            PackedArgs::new(&args).with(|unpacked| assert_eq!(unpacked, args));
        }
    }
}
