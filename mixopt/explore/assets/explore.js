// What somebody touches, told to Python; and what Python answers, written into the page.
//
//   a slider, a field ──▶ the store "touched" ──▶ callbacks.py ──▶ the store "shown" ──▶ show()
//
// Dash would draw each of these values as a component of its own, which takes longer than to compute them.
(() => {
  const LONGEST_WAIT = 1000;  // milliseconds, after which no answer is believed to come
  const REST = 180;  // milliseconds without a move, after which what takes longer is drawn

  const setData = (store, data) => dash_clientside.set_props(store, {data});
  const element = (kind, number) => document.getElementById(JSON.stringify({[kind]: number}));

  // While an answer is awaited, moves are held back, all but the last: the browser tells of sixty a second, and an
  // answer that is overtaken by the next question would never be shown.
  let awaited = null, next = null, rest = null;
  const ask = (touched) => {
    if (awaited) {
      next = touched;
    } else {
      awaited = setTimeout(goOn, LONGEST_WAIT);
      setData('touched', {...touched, at: performance.now()});
    }
  };
  const goOn = () => {
    clearTimeout(awaited);
    awaited = null;
    const touched = next;
    next = null;
    touched && ask(touched);
  };

  // Which slider or field was touched, and what it says now: the numbers in their ids are the domains'.
  const isSlider = ({target}) => target instanceof HTMLInputElement && target.id.startsWith('{"share"');
  const isField = ({target}) => target instanceof HTMLInputElement && target.id.startsWith('{"percent"');
  const tell = ({target}) => ask({...JSON.parse(target.id), value: target.value});
  window.addEventListener('input', (event) => isSlider(event) && tell(event));
  // A field tells when it is left, or Enter is pressed, and somebody has typed something else.
  const tellIfTyped = (event) => isField(event) && event.target.value !== event.target.dataset.shown && tell(event);
  window.addEventListener('keydown', (event) => event.key === 'Enter' && tellIfTyped(event));
  window.addEventListener('focusout', tellIfTyped);

  // An element <input> in each place that layout.py left for one.
  const putInputs = () => document.querySelectorAll('[data-input]:empty').forEach((place) => {
    const input = document.createElement('input');
    Object.entries(JSON.parse(place.dataset.input)).forEach(([name, value]) => input.setAttribute(name, value));
    place.append(input);
  });

  // Trees of Dash's HTML components, which views.py makes, are drawn by React alone.
  const drawn = (tree) => Array.isArray(tree) ? tree.map(drawn) : tree?.type ? drawnElement(tree) : tree;
  const drawnElement = ({type, props: {children, ...attributes}}) =>
    React.createElement(type.toLowerCase(), attributes, ...[drawn(children)].flat());
  const roots = {};
  const draw = (id, tree) => {
    roots[id] ??= ReactDOM.createRoot(document.getElementById(id));
    ReactDOM.flushSync(() => roots[id].render(drawn(tree)));  // at once, not when React finds the time
  };

  // A field says again what it said, whatever somebody typed.
  const say = (input, value) => {
    input.dataset.shown = value;
    if (input.value !== input.dataset.shown) input.value = value;
  };

  const show = (shown) => {
    putInputs();
    // The hand that drags is further on than what was answered.
    shown.share.forEach((place, number) => next?.share === number || say(element('share', number), place));
    shown.percent.forEach((percent, number) => say(element('percent', number), percent));
    shown.epochs.forEach(([epochs, isTight], number) => {
      element('epochs', number).textContent = epochs;
      element('epochs', number).classList.toggle('caution', isTight);
    });
    shown.level.forEach((sum, number) => { element('level', number).textContent = sum; });
    draw('summary', shown.summary);
    draw('details', shown.details);
    clearTimeout(rest);
    rest = setTimeout(() => setData('settled', Date.now()), REST);
    goOn();
  };

  window.dash_clientside = {...window.dash_clientside, mixopt: {show}};
})();
