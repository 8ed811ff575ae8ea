//! A small sorted table. Its few operations are a fraction of the machine code of a tree, and the tables here are
//! short, or grow at their end.

pub(crate) struct Table<K, V> {
    rows: Vec<(K, V)>,
}

impl<K: Ord + Copy, V> Table<K, V> {
    pub const fn new() -> Table<K, V> {
        Table { rows: Vec::new() }
    }

    fn at(&self, key: K) -> Result<usize, usize> {
        self.rows.binary_search_by(|(one, _)| one.cmp(&key))
    }

    pub fn get(&self, key: K) -> Option<&V> {
        self.rows.get(self.at(key).ok()?).map(|(_, value)| value)
    }

    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let at = self.at(key).ok()?;
        self.rows.get_mut(at).map(|(_, value)| value)
    }

    /// Puts a value in the place of any other.
    pub fn insert(&mut self, key: K, value: V) {
        match self.at(key) {
            Ok(at) => {
                if let Some(row) = self.rows.get_mut(at) {
                    row.1 = value;
                }
            }
            Err(at) => self.rows.insert(at, (key, value)),
        }
    }

    pub fn remove(&mut self, key: K) -> Option<V> {
        let at = self.at(key).ok()?;
        Some(self.rows.remove(at).1)
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.rows.iter()
    }

    /// Removes the row of the smallest key.
    pub fn drop_first(&mut self) {
        if !self.rows.is_empty() {
            self.rows.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_in_any_order_of_insertion() {
        let mut table = Table::new();
        for key in [5, 1, 9, 3, 5] {
            table.insert(key, key * 10);
        }
        assert_eq!(table.len(), 4);
        assert_eq!(table.get(9), Some(&90));
        assert_eq!(table.remove(3), Some(30));
        assert_eq!(table.get(3), None);
        table.drop_first();
        assert_eq!(table.iter().map(|row| row.0).collect::<Vec<_>>(), [5, 9]);
    }
}
