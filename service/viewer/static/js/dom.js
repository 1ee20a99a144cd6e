/** Build elements. Text is set as text, never parsed: nothing from a file can become markup. */

/** Make an element with properties, attributes (`aria-…`, `data-…`) and children. */
export function element(tag, properties = {}, children = []) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-")) made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** The element of an id. */
export function byId(id) {
  return document.getElementById(id);
}

/** A number with so many digits, thin spaces between thousands, and a true minus. */
export function number(value, digits = 0) {
  const [whole, rest] = Math.abs(value).toFixed(digits).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, "\u202f");
  const sign = value < 0 && Number(value.toFixed(digits)) !== 0 ? "−" : "";
  return sign + grouped + (rest ? `.${rest}` : "");
}

/** A number to the hundredth, and never a nought for what is there: as the report writes it. */
export function hundredths(value) {
  return value > 0 && value < 0.005 ? "< 0.01" : number(value, 2);
}

/** A lesion's volume, as the report writes it. */
export function cubicMillimetres(value) {
  return number(value, value < 10 ? 1 : 0);
}

/** A size in bytes, for people. */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${number(bytes / 1e3)} kB` : `${number(bytes / 1e6, 1)} MB`;
}

/** Show a problem, its fields included. */
export function showProblem(place, problem) {
  const lines = (problem.fields ?? []).map(({ field, message }) => element("li", {}, [`${field}: ${message}`]));
  const message = problem.message.charAt(0).toUpperCase() + problem.message.slice(1);
  place.replaceChildren(element("p", {}, [message]), ...(lines.length ? [element("ul", {}, lines)] : []));
  place.hidden = false;
  place.scrollIntoView({ block: "nearest" });
}
