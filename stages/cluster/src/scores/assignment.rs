//! The assignment problem, by the Hungarian method with shortest augmenting paths (Jonker, Volgenant 1987), O(n³).

/// For each of `size` rows the column of a matching of least total cost.
pub(super) fn best_matching(size: usize, cost: impl Fn(usize, usize) -> i64) -> Vec<usize> {
    // Numbered from 1: row and column 0 stand for "none".
    let (mut row_price, mut column_price) = (vec![0i64; size + 1], vec![0i64; size + 1]);
    let mut row_of = vec![0usize; size + 1];
    let mut before = vec![0usize; size + 1];
    for row in 1..=size {
        row_of[0] = row;
        let mut column = 0;
        let mut least = vec![i64::MAX; size + 1];
        let mut done = vec![false; size + 1];
        while row_of[column] != 0 {
            done[column] = true;
            let at = row_of[column];
            let (mut step, mut next) = (i64::MAX, 0);
            for other in (1..=size).filter(|&other| !done[other]) {
                let reduced = cost(at - 1, other - 1) - row_price[at] - column_price[other];
                if reduced < least[other] {
                    least[other] = reduced;
                    before[other] = column;
                }
                if least[other] < step {
                    (step, next) = (least[other], other);
                }
            }
            for other in 0..=size {
                if done[other] {
                    row_price[row_of[other]] += step;
                    column_price[other] -= step;
                } else if least[other] != i64::MAX {
                    least[other] -= step;
                }
            }
            column = next;
        }
        while column != 0 {
            row_of[column] = row_of[before[column]];
            column = before[column];
        }
    }
    let mut column_of = vec![0; size];
    for column in 1..=size {
        column_of[row_of[column] - 1] = column - 1;
    }
    column_of
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_cost_is_found() {
        let cost = [[4, 1, 3], [2, 0, 5], [3, 2, 2]];
        let found = best_matching(3, |i, j| cost[i][j]);
        assert_eq!(found, [1, 0, 2]);
        assert_eq!(best_matching(0, |_, _| 0), [0usize; 0]);
    }
}
