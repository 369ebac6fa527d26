//! Walks over the stages, written without recursion: a file may hold any number of them.

/// The nodes that `from` leads to, itself included.
pub(crate) fn reachable(edges: &[Vec<usize>], from: usize) -> Vec<bool> {
    let mut seen = vec![false; edges.len()];
    let mut open = vec![from];
    while let Some(node) = open.pop() {
        if !std::mem::replace(&mut seen[node], true) {
            open.extend(&edges[node]);
        }
    }
    seen
}

/// The nodes of some circle, in order, if there is one.
pub(crate) fn find_circle(edges: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut done = vec![false; edges.len()];
    let mut on_path = vec![false; edges.len()];
    for start in 0..edges.len() {
        // The path from `start`, each node with how many of its edges have been followed.
        let mut path = vec![(start, 0)];
        while let Some((node, followed)) = path.last_mut() {
            let node = *node;
            if done[node] {
                path.pop();
                continue;
            }
            on_path[node] = true;
            match edges[node].get(*followed) {
                None => {
                    done[node] = true;
                    on_path[node] = false;
                }
                Some(&next) if on_path[next] => {
                    let nodes = path.iter().map(|&(node, _)| node);
                    return Some(nodes.skip_while(|&node| node != next).collect());
                }
                Some(&next) => {
                    *followed += 1;
                    path.push((next, 0));
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_and_reach() {
        assert_eq!(find_circle(&[vec![1], vec![2], vec![]]), None);
        assert_eq!(find_circle(&[vec![0]]), Some(vec![0]));
        assert_eq!(find_circle(&[vec![1], vec![2], vec![1]]), Some(vec![1, 2]));
        assert_eq!(find_circle(&[vec![1, 2], vec![2], vec![]]), None);
        assert_eq!(
            reachable(&[vec![], vec![0], vec![1], vec![]], 2),
            [true, true, true, false]
        );
    }

    #[test]
    fn depth_is_no_limit() {
        let chain: Vec<Vec<usize>> = (0..100_000_usize)
            .map(|node| node.checked_sub(1).into_iter().collect())
            .collect();
        assert_eq!(find_circle(&chain), None);
        assert!(reachable(&chain, 99_999)[0]);
    }
}
