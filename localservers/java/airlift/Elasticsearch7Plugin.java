package airlift;

import java.util.Map;
import org.elasticsearch.index.analysis.TokenFilterFactory;
import org.elasticsearch.index.analysis.TokenizerFactory;
import org.elasticsearch.index.mapper.FieldMapper;
import org.elasticsearch.index.mapper.Mapper;
import org.elasticsearch.indices.analysis.AnalysisModule.AnalysisProvider;
import org.elasticsearch.plugins.AnalysisPlugin;
import org.elasticsearch.plugins.MapperPlugin;
import org.elasticsearch.plugins.Plugin;

/**
 * What the published zip of Elasticsearch 7 lacks of its own modules, and tests need: of x-pack's
 * vectors, a field type dense_vector; of analysis-common, {@link EmailAnalysis}.
 */
public class Elasticsearch7Plugin extends Plugin implements AnalysisPlugin, MapperPlugin {
    @Override
    public Map<String, AnalysisProvider<TokenizerFactory>> getTokenizers() {
        return EmailAnalysis.TOKENIZERS;
    }

    @Override
    public Map<String, AnalysisProvider<TokenFilterFactory>> getTokenFilters() {
        return EmailAnalysis.FILTERS;
    }

    @Override
    public Map<String, Mapper.TypeParser> getMappers() {
        return Map.of(
            DenseVectorMapper.TYPE,
            new FieldMapper.TypeParser((name, context) -> new DenseVectorMapper.Builder(name))
        );
    }
}
