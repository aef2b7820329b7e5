//! Mistakes in the signatures of handlers: one block for each, because the first mistake of a block is shown.

use holocron_macros::vnode;

struct Cart;

#[vnode(kind = "cart")]
impl Cart {
    #[command]
    async fn add(&mut self) {}
}

#[vnode(kind = "cart")]
impl Cart {
    #[command]
    fn add(&self) {}
}

#[vnode(kind = "cart")]
impl Cart {
    #[query]
    fn total(&mut self) -> u32 {
        0
    }
}

#[vnode(kind = "cart")]
impl Cart {
    #[query]
    fn total() -> u32 {
        0
    }
}

#[vnode(kind = "cart")]
impl Cart {
    #[command]
    fn add<T>(&mut self, what: T) {}
}

#[vnode(kind = "cart")]
impl Cart {
    #[command]
    fn delete(&mut self) {}
}

#[vnode(kind = "cart")]
impl Cart {
    #[command]
    #[query]
    fn add(&mut self) {}
}

#[vnode(kind = "cart")]
impl Cart {
    #[command(local)]
    fn add(&mut self) {}
}

#[vnode(kind = "cart")]
impl Cart {
    #[command]
    fn add(&mut self) {}

    #[query(name = "add")]
    fn added(&self) {}
}

#[vnode(kind = "cart")]
impl Cart {
    #[query]
    fn total(&self, context: &mut Context<'_, Self>) -> u32 {
        0
    }
}

fn main() {}
