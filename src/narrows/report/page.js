// Tables sort by a click on a heading, pictures fill the window by a click; both by Enter, too.
const number = cell => parseFloat(cell.textContent.replace(/,/g, ""));
const by = (column, sign) => (one, other) => {
  const [a, b] = [one, other].map(row => row.children[column]);
  const [x, y] = [number(a), number(b)];
  if (isNaN(x) && isNaN(y)) return sign * a.textContent.localeCompare(b.textContent);
  return isNaN(x) - isNaN(y) || sign * (x - y);  // what is not defined stays below
};
const pressed = (element, action) => {
  element.tabIndex = 0;
  element.addEventListener("click", action);
  element.addEventListener("keydown", event => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); action(); }
    if (event.key === "Escape") element.classList.remove("large");
  });
};
for (const heading of document.querySelectorAll("thead th")) pressed(heading, () => {
  const up = heading.getAttribute("aria-sort") === "ascending";
  for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", up ? "descending" : "ascending");
  const body = heading.closest("table").tBodies[0];
  body.append(...[...body.rows].sort(by(heading.cellIndex, up ? -1 : 1)));
});
for (const picture of document.querySelectorAll("figure img, svg.figure"))
  pressed(picture, () => picture.classList.toggle("large"));
