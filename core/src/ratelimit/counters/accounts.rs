//! Whose cells they are, and how many each workspace has.
//!
//! Where there is no more room, the workspace with most cells pays: one that has no more than an equal share
//! of the room never loses a cell to another. For that a cell holds the number of an account, and accounts
//! count cells. They are asked when a cell comes or goes, which is once per window, and never by a check of a
//! cell that is there.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::unhashed::Unhashed;

/// Whom a cell is charged to: a keyed hash of the id of a workspace, or one of two that are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Owner(pub(super) u64);

impl Owner {
    /// The server itself, for throttles of workspaces. Its cells take no room from anybody and never go.
    pub(super) const SERVER: Owner = Owner(0);
    /// All whose owner is not known: counts that a version without owners has left.
    pub(super) const UNKNOWN: Owner = Owner(1);
}

/// The number of an account, below [`Account::MOST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account(pub(super) u32);

impl Account {
    /// A cell has 24 bits for it: far more than there are workspaces.
    pub(super) const MOST: u32 = 1 << 24;
    const SERVER: Account = Account(0);
    const UNKNOWN: Account = Account(1);

    fn index(self) -> usize {
        self.0 as usize
    }
}

/// All accounts.
#[derive(Debug)]
pub(super) struct Accounts {
    numbers: HashMap<Owner, Account, BuildHasherDefault<Unhashed>>,
    /// Owner and cells, by number.
    accounts: Vec<(Owner, usize)>,
    /// Numbers of accounts that had their last cell and may be another's.
    free: Vec<Account>,
    total: usize,
}

impl Default for Accounts {
    fn default() -> Self {
        Self {
            numbers: [(Owner::SERVER, Account::SERVER), (Owner::UNKNOWN, Account::UNKNOWN)].into_iter().collect(),
            accounts: vec![(Owner::SERVER, 0), (Owner::UNKNOWN, 0)],
            free: Vec::new(),
            total: 0,
        }
    }
}

impl Accounts {
    /// Counts a new cell of this owner and says in which account.
    pub(super) fn charge(&mut self, owner: Owner) -> Account {
        let account = self.numbers.get(&owner).copied().unwrap_or_else(|| self.open(owner));
        self.accounts[account.index()].1 += 1;
        self.total += 1;
        account
    }

    fn open(&mut self, owner: Owner) -> Account {
        let account = match self.free.pop() {
            Some(account) => {
                self.accounts[account.index()] = (owner, 0);
                account
            }
            None => {
                let next = u32::try_from(self.accounts.len()).ok().filter(|next| *next < Account::MOST);
                let Some(next) = next else { return Account::UNKNOWN };
                self.accounts.push((owner, 0));
                Account(next)
            }
        };
        self.numbers.insert(owner, account);
        account
    }

    /// Counts cells that are gone, each by its account.
    pub(super) fn discharge(&mut self, gone: &[Account]) {
        for account in gone {
            let (owner, cells) = &mut self.accounts[account.index()];
            *cells -= 1;
            self.total -= 1;
            if *cells == 0 && *account != Account::SERVER && *account != Account::UNKNOWN {
                self.numbers.remove(owner);
                self.free.push(*account);
            }
        }
    }

    /// The owner of an account that has cells.
    pub(super) fn owner(&self, account: Account) -> Owner {
        self.accounts[account.index()].0
    }

    /// All cells together.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// All cells that take room.
    pub(super) fn taken(&self) -> usize {
        self.total - self.accounts[Account::SERVER.index()].1
    }

    /// Who has most cells, but for the server. Among equals it is whoever came last: nobody loses to a newcomer
    /// that has as many.
    pub(super) fn largest(&self, last: Owner) -> Option<Account> {
        let numbered = self.accounts.iter().zip(0..).skip(1).filter(|((_, cells), _)| *cells > 0);
        let largest = numbered.max_by_key(|((owner, cells), _)| (*cells, *owner == last));
        largest.map(|(_, number)| Account(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_pays_and_among_equals_the_last_that_came() {
        let mut accounts = Accounts::default();
        let [a, b] = [Owner(7), Owner(8)];
        assert_eq!(accounts.largest(a), None);
        let [first, second] = [a, b].map(|owner| accounts.charge(owner));
        assert_eq!((accounts.largest(a), accounts.largest(b)), (Some(first), Some(second)));
        accounts.charge(a);
        assert_eq!(accounts.largest(b), Some(first));
        for _ in 0..9 {
            accounts.charge(Owner::SERVER);
        }
        assert_eq!((accounts.largest(b), accounts.total(), accounts.taken()), (Some(first), 12, 3));
    }

    #[test]
    fn the_number_of_an_account_without_cells_is_used_again() {
        let mut accounts = Accounts::default();
        let [a, b, c] = [Owner(7), Owner(8), Owner(9)];
        let [first, second] = [a, b].map(|owner| accounts.charge(owner));
        accounts.discharge(&[first]);
        assert_eq!((accounts.charge(c), accounts.owner(first), accounts.owner(second)), (first, c, b));
        assert_eq!((accounts.charge(a).0, accounts.total()), (second.0 + 1, 3));
    }
}
