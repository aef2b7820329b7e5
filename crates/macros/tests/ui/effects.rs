//! Mistakes in effects and in what takes their outcomes.

use holocron_macros::vnode;

struct Cart;
struct Shop;

#[vnode(kind = "cart", env = Shop)]
impl Cart {
    #[effect]
    fn charge(env: &Shop, cents: u32) -> Result<(), Retry> {
        Ok(())
    }
}

#[vnode(kind = "cart", env = Shop)]
impl Cart {
    #[effect]
    async fn charge(&self, cents: u32) -> Result<(), Retry> {
        Ok(())
    }
}

#[vnode(kind = "cart", env = Shop)]
impl Cart {
    #[effect]
    async fn charge(env: &Shop, cents: u32) -> u32 {
        cents
    }
}

#[vnode(kind = "cart", env = Shop)]
impl Cart {
    #[effect]
    async fn send(env: &Shop, cents: u32) -> Result<(), Retry> {
        Ok(())
    }
}

#[vnode(kind = "cart", env = Shop)]
impl Cart {
    #[finished(charge)]
    fn charged(&mut self, outcome: Result<(), Failed>) {}
}

#[vnode(kind = "cart", env = Shop)]
impl Cart {
    #[finished("paid")]
    fn paid(&mut self) {}
}

#[vnode(kind = "cart", env = Shop)]
impl Cart {
    #[finished("paid")]
    fn paid(&mut self, outcome: Result<(), Failed>) -> u32 {
        0
    }
}

fn main() {}
