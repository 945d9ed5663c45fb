// A panel's figure is drawn anew in the graph that is there. Of each picture that an Output widget is given, JupyterLab
// throws its renderer of plotly away and makes another, which makes a graph from nothing, draws it twice more, and an
// image of it for the notebook's file, in which no panel's figure is; the graph before it stays in memory, held by the
// window's listeners. Here a place keeps its renderer and its graph, and plotly changes in it what is other.
//
// The renderer's class comes from where JupyterLab and Voilà load it; where there is none, all is drawn as it always was.
const PLOTLY = "application/vnd.plotly.v1+json";

// The outputs of a place: one figure that follows another is set in its place, and not taken away and added.
const keepPlace = (outputs) => {
  if (!outputs?.fromJSON || Object.hasOwn(outputs, "fromJSON")) return;
  const { clear, fromJSON } = Object.getPrototypeOf(outputs);
  let cleared = false;
  const clearNow = () => {
    if (cleared) clear.call(outputs);
    cleared = false;
  };
  outputs.clear = (wait) => {
    if (wait) return clear.call(outputs, wait);
    cleared = true; // a widget clears its outputs before it is given others
    queueMicrotask(clearNow);
  };
  outputs.fromJSON = (given) => {
    const follows = given.length === 1 && outputs.length === 1 && given[0].data?.[PLOTLY] && outputs.get(0).data[PLOTLY];
    if (follows) {
      cleared = false;
      return outputs.set(0, given[0]);
    }
    delete outputs.clear; // it is called from within
    clearNow();
    fromJSON.call(outputs, given);
    delete outputs.fromJSON;
  };
};

const begin = async () => {
  const { RenderedPlotly } = (await window._JUPYTERLAB?.["jupyterlab-plotly"]?.get("./mimeExtension"))?.() ?? {};
  if (!RenderedPlotly?.prototype.createGraph) return;
  const its = RenderedPlotly.prototype, { renderModel, createGraph, onUpdateRequest, dispose } = its;

  its.renderModel = function (model) {
    return this.gloraPlace ? this.createGraph(model) : renderModel.call(this, model);
  };
  its.createGraph = async function (model) {
    await null; // until the output is on the page
    this.gloraPlace ??= RenderedPlotly.Plotly && this.node.closest(".glora-figure");
    if (!this.gloraPlace) return createGraph.call(this, model); // another's, or the first, for which plotly is loaded
    if (this.isDisposed) return;
    this.hideImage?.(); // which is empty, and has no words for whoever cannot see it
    keepPlace(this.parent?.parent?.model);
    const { data, layout, config } = model.data[this._mimeType];
    await RenderedPlotly.Plotly.react(this.node, data, layout, config);
  };
  its.onUpdateRequest = function (message) {
    if (!this.gloraPlace) return onUpdateRequest.call(this, message);
    if (this.isVisible && this.hasGraphElement()) RenderedPlotly.Plotly.Plots.resize(this.node);
  };
  its.dispose = function () {
    dispose.call(this);
    RenderedPlotly.Plotly?.purge(this.node);
  };
};

if (!window.gloraFigures) begin();
window.gloraFigures = true;
